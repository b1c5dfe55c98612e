"""`repair --export-litert`: the file is run on validation rows as a device would, and kept if it says the same."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import keras
import numpy as np
import pytest

from support.command import assert_refused, cli
from support.small import fitted, poisoned_task, small_model
from unlearning.errors import InputError
from unlearning.repairs import deploying
from unlearning.repairs.deploying import deploy

there = importlib.util.find_spec("ai_edge_litert") is not None


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    task, _ = poisoned_task()
    fitted(small_model(softmax=True), task.train).save(tmp_path / "m.keras")
    held = task.validation
    np.savez(
        tmp_path / "data.npz",
        train_images=task.train.images,
        train_labels=task.train.labels,
        test_images=held.images,
        test_labels=held.labels,
    )
    flagged = [f"{row},{label}\n" for row, label in zip(task.corrections.rows, task.corrections.labels, strict=True)]
    (tmp_path / "flagged.csv").write_text("row,corrected_label\n" + "".join(flagged))
    return tmp_path


REPAIR = ("repair", "m.keras", "--data", "data.npz", "--flagged", "flagged.csv", "--out", "r.keras", "--quiet")


@pytest.mark.skipif(not there, reason="needs ai-edge-litert")
def test_a_file_that_says_the_same(folder: Path) -> None:
    done = cli(*REPAIR, "--export-litert", "r.tflite", cwd=folder)
    assert done.returncode == 0, done.stderr
    found = json.loads((folder / "r.json").read_text())["deployed"]
    assert found["rows"] == 240 and found["agreement"] == 1.0 and found["largest_difference"] < 1e-4
    assert found["accuracy_file"] == found["accuracy_model"] > found["accuracy_before"]
    assert "LiteRT file:" in done.stdout and "r.tflite" in done.stdout
    lines = done.stdout.splitlines()
    (first,) = (number for number, line in enumerate(lines) if line.startswith("LiteRT"))
    assert max(map(len, lines[first : first + 2])) <= 80


@pytest.mark.skipif(not there, reason="needs ai-edge-litert")
def test_a_file_that_says_something_else_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task, _ = poisoned_task()
    model = small_model(softmax=True)
    monkeypatch.setattr(deploying, "_run", lambda path, images: np.eye(3)[np.arange(len(images)) % 3])
    with pytest.raises(InputError, match="was not kept"):
        deploy(model, model, task.validation, tmp_path / "r.tflite")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not there, reason="needs ai-edge-litert")
def test_token_sequences_and_one_output(tmp_path: Path) -> None:
    task, _ = poisoned_task(classes=2)
    words = keras.Sequential([keras.Input((6,), dtype="int32"), keras.layers.Embedding(9, 4), keras.layers.Flatten()])
    words.add(keras.layers.Dense(1, activation="sigmoid"))
    tokens = np.random.default_rng(0).integers(0, 9, (len(task.validation), 6))
    rows = type(task.validation)(tokens, task.validation.labels)
    assert deploy(words, words, rows, tmp_path / "r.tflite").agreement == 1.0


def test_said_before_anything_is_computed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_refused(cli(*REPAIR, "--export-litert", "r.bin", cwd=folder), "a path ending in .tflite")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert_refused(cli(*REPAIR, "--export-litert", "r.tflite", cwd=folder), "pip install ai-edge-litert")
    assert not (folder / "r.keras").exists()
