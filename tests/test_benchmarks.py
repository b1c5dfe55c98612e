"""The committed results of benchmarks, and the page that is made of them."""

from __future__ import annotations

import ast
import importlib.util
import json
from pathlib import Path

import pytest

from support.benchmarks import RESULTS, describe_machine, rounded, save

FOLDER = RESULTS.parent
FILES = sorted(RESULTS.glob("*.json"))
SCRIPTS = [path for path in sorted(FOLDER.glob("*.py")) if path.stem != "page"]


def page():
    """Loads `page.py`."""
    spec = importlib.util.spec_from_file_location("page", FOLDER / "page.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_results_say_what_they_were_measured_with(path: Path) -> None:
    content = json.loads(path.read_text())
    assert {"python", "tensorflow", "keras", "numpy", "device", "threads"} <= set(content["environment"])
    assert content.get("rows") or content["summary"]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_every_script_writes_with_one_helper(path: Path) -> None:
    imported = {
        alias.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module == "support.benchmarks"
        for alias in node.names
    }
    assert imported & {"save", "describe_machine"}


def test_the_page_is_that_of_the_results() -> None:
    module = page()
    assert module.PAGE.read_text(encoding="utf-8") == module.make_page(), "run python tests/benchmarks/page.py"


def test_a_file_has_numbers_and_machine(tmp_path) -> None:
    path = save("some", [{"rows": 3, "seconds": 1.23456}], out=tmp_path / "some.json", epochs=2)
    content = json.loads(path.read_text())
    assert content["rows"] == [{"rows": 3, "seconds": 1.235}] == [rounded({"rows": 3, "seconds": 1.2346})]
    assert content["epochs"] == 2 and content["command"].startswith("python tests/benchmarks/")
    assert content["environment"]["machine"] in ("busy", "quiet") and content["environment"] == describe_machine()
