"""Dividing a source into training, validation and test rows. scikit-learn is imported when rows are divided."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np

from unlearning.data.checks import check_arrays
from unlearning.errors import InputError

logger = logging.getLogger(__name__)

_HELD_OUT = 0.3  # validation and test together, where a source has only one part

Parts = Mapping[str, tuple[np.ndarray, ...]]
"""Images, labels, and fine labels where there are any, by part: `train`, `validation`, `test`."""


def draw_rows(total: int, train_rows: int, seed: int) -> np.ndarray:
    """Draws the training rows to keep, in order."""
    if not 1 <= train_rows <= total:
        raise InputError("train_rows", f"an integer in 1..{total}", train_rows)
    return np.sort(np.random.default_rng(seed).choice(total, train_rows, replace=False))


def divide(images: np.ndarray, labels: np.ndarray, seed: int, *fine: np.ndarray, of_any_kind: bool = False) -> Parts:
    """Divides a one-part source 70 / 15 / 15, each part in source order."""
    from sklearn.model_selection import train_test_split

    check_arrays("images", images, labels, *fine, of_any_kind=of_any_kind)
    counts = np.unique(labels, return_counts=True)[1]
    if counts.min() < 4:
        raise InputError(f"A class has only {counts.min()} rows; at least 4 are needed to split it three ways.")
    rows = np.arange(len(labels))
    train, rest = train_test_split(rows, test_size=_HELD_OUT, random_state=seed, stratify=labels)
    try:
        test, validation = train_test_split(rest, test_size=0.5, random_state=seed, stratify=labels[rest])
    except ValueError:  # a class with a single held-out row cannot be stratified further
        test, validation = train_test_split(rest, test_size=0.5, random_state=seed)
    named = {"train": train, "validation": validation, "test": test}
    return {name: tuple(_taken(a, np.sort(part)) for a in (images, labels, *fine)) for name, part in named.items()}


def halve(images: np.ndarray, labels: np.ndarray, seed: int, *fine: np.ndarray) -> Parts:
    """Halves the test images as the published experiments do: the first half is the test split."""
    from sklearn.model_selection import train_test_split

    if len(labels) < 2:
        raise InputError("test labels", "at least two rows, to be halved into test and validation", len(labels))
    halves = train_test_split(np.arange(len(labels)), test_size=0.5, random_state=seed)
    arrays = (images, labels, *fine)
    return {
        name: tuple(_taken(a, half) for a in arrays) for name, half in zip(("test", "validation"), halves, strict=True)
    }


def _taken(array: Any, rows: np.ndarray) -> Any:
    """Some rows; of what is read from disk, none is read."""
    return array.subset(rows) if hasattr(array, "subset") else array[rows]


def warn_of_division(name: str, parts: Parts) -> None:
    """Warns that a source was divided, since a model trained on all of it has seen the test rows."""
    rows = {part: len(labels) for part, (_, labels, *_) in parts.items()}
    logger.warning(
        "%s has no test rows: of its %d rows, %d are held out, and row numbers count within the other %d. If the model "
        "was trained on those held out, its scores mislead: give train_images, train_labels, test_images, test_labels "
        "(of a folder, train/ and test/).",
        name,
        sum(rows.values()),
        rows["validation"] + rows["test"],
        rows["train"],
    )
