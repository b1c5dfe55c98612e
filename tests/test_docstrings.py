"""The examples in docstrings are executed."""

from __future__ import annotations

import doctest
import importlib
import shutil
from pathlib import Path

import pytest
from PIL import Image

from support.paths import ROOT
from support.small import fitted, poisoned_task, small_model
from unlearning.training.batches import ShuffledBatches

FOLDER = ROOT / "unlearning"
WITH_EXAMPLES = [path for path in sorted(FOLDER.rglob("*.py")) if ">>> " in path.read_text(encoding="utf-8")]


def module_name(path: Path) -> str:
    """Returns the dotted name of a file of the package."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """The files that examples name."""
    folder = tmp_path_factory.mktemp("examples")
    fitted(small_model(hidden=16), poisoned_task()[0].train).save(folder / "model.keras")
    (folder / "photos").mkdir()
    for name in "ab":
        Image.new("RGB", (40, 30)).save(folder / "photos" / f"{name}.jpg")
    return folder


@pytest.fixture
def names(saved: Path, tmp_path, monkeypatch) -> dict:
    """What examples may name without saying where it comes from: a small poisoned model, its rows, two files."""
    shutil.copytree(saved, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    task, _ = poisoned_task()
    model = fitted(small_model(hidden=16), task.train)
    x, y = task.train.images, task.train.labels
    return {
        "batches": ShuffledBatches(x, y, batch_size=32, seed=0),
        **{"model": model, "task": task, "x": x, "y": y, "images": x, "labels": y},
        **{"x_val": task.validation.images, "y_val": task.validation.labels},
        **{"wrong": task.corrections.rows, "right_labels": task.corrections.labels},
    }


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=module_name)
def test_examples_run(path: Path, names: dict) -> None:
    module = importlib.import_module(module_name(path))
    said: list[str] = []
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS)
    ran = 0
    for found in doctest.DocTestFinder(exclude_empty=True).find(module, extraglobs=dict(names)):
        ran += len(found.examples)
        assert not any(doctest.SKIP in example.options for example in found.examples), f"{found.name} is not run"
        runner.run(found, out=said.append, clear_globs=False)
    assert ran and not runner.failures, "".join(said)
