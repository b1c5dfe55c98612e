"""Every example notebook runs from top to bottom, shows what it claims, and is committed with clean outputs."""

from __future__ import annotations

import ast
import importlib
import itertools
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from support.command import PATIENCE_S
from support.paths import ROOT

NOTEBOOKS = sorted((ROOT / "example_notebooks").glob("*.ipynb"))
TRAINING = {
    "01_poison_and_repair",
    "02_prepare_your_data",
    "03_repair_your_own_model",
    "04_callbacks_in_your_own_fit",
    "06_unintended_memorisation",
    "07_my_own_model_in_ten_minutes",
}
"""Notebooks that train networks for more than ten seconds."""
RUNS = [pytest.param(path, marks=[pytest.mark.slow] * (path.stem in TRAINING)) for path in NOTEBOOKS]

ABSOLUTE_PATH = re.compile(r"(?<![\w<.:/])/(?:[\w.+-]+/)+[\w.+-]+|\b[A-Z]:\\\w")
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d|\b\d\d:\d\d:\d\d\b|^[IWEF]\d{4} \d\d:", re.MULTILINE)


def check_poison(seen: dict[str, Any]) -> None:
    accuracy, attack = seen["accuracy"], seen["attack"]
    assert accuracy["none"] < seen["clean"] - 0.04  # the flips do harm
    assert accuracy["second-order"] > accuracy["none"] + 0.5 * (seen["clean"] - accuracy["none"])
    assert attack["none"] > 0.8 and seen["clean_attack"] < 0.1  # the backdoor works, on the model that has it
    assert attack["second-order"] < 0.5 * attack["none"]
    assert not seen["misled"]  # validation rows that were poisoned alike cannot tell
    assert seen["true_label"]["second-order"] > seen["true_label"]["poisoned"] + 0.3
    assert seen["methods"] == ["first-order", "second-order", "fine-tuning"]


def check_data(seen: dict[str, Any]) -> None:
    assert seen["classes"] == ["cross", "disc", "square"]
    assert seen["sizes"] == [210, 45, 45] == seen["npz_sizes"] and seen["official_sizes"] == [200, 50, 50]
    assert seen["refused"] == ["one-class", "gap.npz", "lengths.npz"]
    assert seen["score"] > 0.8


def check_own_model(seen: dict[str, Any]) -> None:
    assert seen["precision"] > 0.7 and seen["recall"] > 0.8
    scores = seen["scores"]
    assert scores["second-order"] > scores["as trained"] + 0.03
    assert scores["second-order, command line"] == scores["second-order"]  # the same repair through the other door


def check_callbacks(seen: dict[str, Any]) -> None:
    accuracy = seen["accuracy"]
    assert seen["applied"] == [True, True]
    assert accuracy["sap"] > accuracy["ordinary fit"] and accuracy["fspmu"] > accuracy["ordinary fit"] + 0.05
    assert seen["layers"] == [seen["fresh_layers"]] * 2  # the callbacks leave nothing behind


def check_certified(seen: dict[str, Any]) -> None:
    for residuals in seen["residuals"]:
        assert residuals["second-order"] < 0.2 * residuals["first-order"] < 0.2 * residuals["as fitted"]
        assert residuals["retraining"] < 1e-6
    assert seen["measured"] == [1, 2, 5, 10, 20] and seen["worst_case"] == [1]
    assert seen["removed_weight"] < 1e-8


def check_ten_minutes(seen: dict[str, Any]) -> None:
    scores = list(seen["scores"].values())
    assert seen["applied"] and scores[0] + 0.05 < scores[1] <= scores[2] + 0.03
    assert seen["frozen"] and seen["suspects"] > 0.8


def check_memorisation(seen: dict[str, Any]) -> None:
    exposure, bits, perplexity = seen["exposure"], seen["bits"], seen["perplexity"]
    assert exposure["as trained"] == seen["most"]
    assert exposure["first-order"] > seen["most"] - 2
    assert bits["second-order"] > bits["as trained"] + 2
    assert max(exposure["fine-tuning"], exposure["retraining"]) < seen["most"] - 4
    assert perplexity["second-order"] < 1.05 * perplexity["as trained"]
    assert perplexity["fine-tuning"] < 1.05 * perplexity["as trained"]


CLAIMS: dict[str, tuple[str, Callable[[dict[str, Any]], None]]] = {
    "01_poison_and_repair": (
        """{
            "clean": best,
            "accuracy": table.loc["flips", "test accuracy"].to_dict(),
            "attack": table.loc["backdoor", "attack success"].to_dict(),
            "clean_attack": attack_success(clean),
            "true_label": memory.loc["flips", "says the true label"].to_dict(),
            "methods": list(outcomes["flips"]),
            "misled": misled.applied,
        }""",
        check_poison,
    ),
    "02_prepare_your_data": (
        """{
            "classes": data.class_names,
            "sizes": [len(data.train), len(data.validation), len(data.test)],
            "npz_sizes": sizes["shapes.npz"].tolist(),
            "official_sizes": sizes["shapes-official.npz"].tolist(),
            "refused": refused,
            "score": score,
        }""",
        check_data,
    ),
    "03_repair_your_own_model": ("""{**quality, "scores": scores}""", check_own_model),
    "04_callbacks_in_your_own_fit": (
        """{
            "accuracy": table["test accuracy"].to_dict(),
            "applied": [report.applied, result.applied],
            "layers": [[type(layer).__name__ for layer in each.layers] for each in (model, plain)],
            "fresh_layers": [type(layer).__name__ for layer in my_model().layers],
        }""",
        check_callbacks,
    ),
    "05_certified_logistic_regression": (
        """{
            "residuals": [t["residual"].astype(float).to_dict() for t in (corrected, removed)],
            "measured": holds.index[holds["second-order"]].tolist(),
            "worst_case": holds.index[holds["worst case"]].tolist(),
            "removed_weight": np.abs(step[columns]).max(),
        }""",
        check_certified,
    ),
    "06_unintended_memorisation": (
        """{
            "exposure": table["exposure, 30 times"].to_dict(),
            "bits": table["-log2 p, 30 times"].to_dict(),
            "perplexity": table["perplexity"].to_dict(),
            "most": trained["canaries"][1].most_bits,
        }""",
        check_memorisation,
    ),
    "07_my_own_model_in_ten_minutes": (
        """{
            "scores": scores,
            "applied": done.outcome.applied,
            "frozen": all(map(np.array_equal, backbone.get_weights(), done.model.layers[0].get_weights())),
            "suspects": float(np.isin(suspects.rows, wrong).mean()),
        }""",
        check_ten_minutes,
    ),
}
"""By notebook: what to read in its kernel when all cells have run, and what must be true of it."""


def texts(notebook: nbformat.NotebookNode) -> Iterator[str]:
    """The text of all outputs; pictures are left out."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            yield output.get("text", "")
            yield from (value for kind, value in output.get("data", {}).items() if not kind.startswith("image/"))


def shape(notebook: nbformat.NotebookNode) -> list[list[str]]:
    """The kinds of outputs of every cell; how many pieces printed text comes in depends on timing."""
    code = (cell for cell in notebook.cells if cell.cell_type == "code")
    return [[kind for kind, _ in itertools.groupby(output.output_type for output in cell.outputs)] for cell in code]


def test_every_notebook_has_claims() -> None:
    assert [path.stem for path in NOTEBOOKS] == sorted(CLAIMS)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_calls_what_there_is(path: Path) -> None:
    """The short version of running it: its code is Python, and its imports are there, under the names it uses."""
    code = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code")
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom):
            assert node.module is not None
            module = importlib.import_module(node.module)
            for alias in node.names:
                assert hasattr(module, alias.name) or importlib.import_module(f"{node.module}.{alias.name}")


@pytest.mark.parametrize("path", RUNS, ids=lambda p: p.stem)
def test_notebook_runs_and_keeps_its_claims(path: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT) + os.pathsep + os.environ.get("PYTHONPATH", ""))
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    probe, check = CLAIMS[path.stem]
    notebook = nbformat.read(path, as_version=4)
    committed = shape(notebook)
    notebook.cells.append(nbformat.v4.new_code_cell(f"import json\nprint(json.dumps({probe}, default=float))"))
    where = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=PATIENCE_S, startup_timeout=PATIENCE_S, resources=where).execute()
    check(json.loads(notebook.cells.pop().outputs[-1].text))
    assert shape(notebook) == committed, "the committed outputs are those of other cells"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_is_committed_with_clean_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1)), "run from top to bottom"
    assert not any(cell.metadata for cell in notebook.cells), "cell metadata hold when and where it was run"
    assert path.stat().st_size < 300_000
    for cell in code:
        assert not any(output.get("name") == "stderr" or output.output_type == "error" for output in cell.outputs)
    for text in texts(notebook):
        assert not ABSOLUTE_PATH.search(text), ABSOLUTE_PATH.search(text)
        assert not TIMESTAMP.search(text), TIMESTAMP.search(text)


@pytest.mark.parametrize(
    "text",
    [
        "saved to /home/me/model.keras",
        "('/var/lib/x')",
        r"C:\Users",
        "2024-05-01 12:30",
        "I0000 00:00:17",
        "at 09:15:02",
    ],
)
def test_paths_and_timestamps_are_recognised(text: str) -> None:
    assert ABSOLUTE_PATH.search(text) or TIMESTAMP.search(text)


@pytest.mark.parametrize("text", ["shapes/disc/000.png", "<td>0.5</td>\n  </tr>", "70 / 15 / 15", "0.933 -> 0.941"])
def test_relative_paths_and_numbers_are_not(text: str) -> None:
    assert not ABSOLUTE_PATH.search(text) and not TIMESTAMP.search(text)
