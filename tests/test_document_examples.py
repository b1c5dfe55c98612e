"""The Python of the documents runs as it stands there, with the names that the text around it speaks of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from support.documents import PAGES, blocks
from support.paths import ROOT
from support.small import fitted, poisoned_task, small_model

ELSEWHERE = {"docs/extending.md", "docs/design.md"}  # the first is one program, the second shows a fragment
EXAMPLES = [
    pytest.param(text, id=f"{page.relative_to(ROOT)}-{number}")
    for page in PAGES
    if page.relative_to(ROOT).as_posix() not in ELSEWHERE
    for number, text in enumerate(blocks(page, "python"))
    if "=..." not in text
]


@pytest.fixture
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A model with its rows, in memory and in files."""
    task, _ = poisoned_task(rows=600, flips=150)
    model = fitted(small_model(hidden=16), task.train)
    monkeypatch.chdir(tmp_path)
    model.save("model.keras")
    train, held, flagged = task.train, task.validation, task.corrections
    files = {"train_images": train.images, "train_labels": train.labels}
    np.savez("data.npz", **files, test_images=held.images, test_labels=held.labels)
    rng = np.random.default_rng(0)
    features = rng.standard_normal((400, 30))
    return {
        **{"np": np, "model": model, "loss": keras.losses.SparseCategoricalCrossentropy(from_logits=True)},
        **{"images": train.images, "labels": train.labels, "val_images": held.images, "val_labels": held.labels},
        **{"rows": flagged.rows, "right_labels": flagged.labels, "wrong_rows": flagged.rows},
        **{"probabilities": np.eye(3)[flagged.labels], "x": features, "secret": 1},
    }


@pytest.mark.slow
@pytest.mark.parametrize("text", EXAMPLES)
def test_the_examples_of_documents_run(text: str, names: dict[str, Any]) -> None:
    if "LogisticProblem" in text:
        names["labels"] = np.where(names["x"][:, 0] > 0, 1.0, -1.0)
    exec(compile(text, "example", "exec", dont_inherit=True), names)


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 10
