"""Corrupting a split in one call, with the inputs of all kinds as arguments."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from unlearning.errors import InputError
from unlearning.noise.base import Noise, Rows
from unlearning.noise.corruption import Corruption
from unlearning.noise.registry import NOISES, get
from unlearning.task import Split


def corrupt(
    kind: str,
    split: Split,
    *,
    budget: int | None,
    seed: int,
    num_classes: int,
    data_name: str = "",
    ids: np.ndarray | None = None,
    labels_file: str | os.PathLike[str] | None = None,
    labels_key: str = "worse_label",
    label_map: Mapping[int, int] | None = None,
    target: int = 0,
    pixel_max: float | None = None,
    fine_labels: np.ndarray | None = None,
    options: Mapping[str, Any] | None = None,
) -> Corruption:
    """Corrupts a split.

    Args:
        kind: One of `available()`.
        split: Images and true labels; not changed.
        budget: Number of rows to corrupt (`symmetric-inclusive` and `asymmetric-inclusive`: to draw, of which some keep
            their label); None or 0 for `human` and `recorded`, whose file decides.
        seed: Seed of the choice of rows and labels.
        num_classes: Number of classes `K`.
        data_name: Name of the image set; the asymmetric kinds know maps for `cifar10` and `cifar100`.
        ids: Example ids of the rows (`human`; `recorded` and the inclusive kinds, where the set has them).
        labels_file: The labels (`human`: a CIFAR-10N `.npz` file; `recorded`: a JSON list).
        labels_key: Which array of that file to use (`human`).
        label_map: Source to target classes (asymmetric kinds; replaces the built-in map), or fine classes to the
            classes they are mistaken for (`subclass-dominant`).
        target: The label that a patched image gets (`backdoor`).
        pixel_max: Brightness of the patch (`backdoor`); by default what is white in the images.
        fine_labels: int array `(rows,)`: the fine class behind each label (`subclass-dominant`).
        options: Further inputs of the kind, by name.

    Returns:
        The corruption; its true labels are the split's labels.

    Raises:
        InputError: If the kind is unknown, the budget cannot be met, or something a kind needs is missing.
    """
    file = None if labels_file is None else os.fspath(labels_file)
    noise = _build(
        kind, options, labels_file=file, labels_key=labels_key, label_map=_plain(label_map), target=int(target)
    )
    rows = Rows(split, num_classes, data_name, ids, pixel_max, fine_labels)
    if budget and not noise.needs_budget:
        raise InputError("budget", f"no budget with {kind} noise (the labels file decides)", budget)
    return noise.corrupt(rows, 0 if budget is None else budget, seed)


def corrupt_alike(
    corruption: Corruption,
    split: Split,
    *,
    num_classes: int,
    seed: int,
    data_name: str = "",
    label_map: Mapping[int, int] | None = None,
    fine_labels: np.ndarray | None = None,
    options: Mapping[str, Any] | None = None,
) -> Corruption:
    """Corrupts another split by the same process and at the same rate.

    This is what makes a validation split honest: a user whose training labels are wrong has validation labels that are
    wrong in the same way. Human annotations and recorded labels exist for the training rows only; there, labels are
    drawn from the class transition matrix that the training rows show.

    Passes on an `InputError` if the labels of `split` are not classes, or it has too few rows of the classes to
    corrupt.

    Args:
        corruption: What happened to the training rows.
        split: The other rows with their true labels.
        num_classes: Number of classes.
        seed: Seed; use another one than the training rows'.
        data_name: Name of the image set.
        label_map: As for `corrupt`.
        fine_labels: Fine classes of `split`, as for `corrupt`.
        options: As for `corrupt`.

    Returns:
        The corruption of `split`.
    """
    rows = Rows(split, num_classes, data_name, fine_labels=fine_labels)
    # The training rows are not at hand: what a kind looks up in them is looked up in the other rows.
    return _build(corruption.kind, options, label_map=_plain(label_map)).alike(corruption, rows, rows, seed)


def _build(kind: str, options: Mapping[str, Any] | None, **inputs: object) -> Noise:
    """Builds a kind with its options, and those of the inputs that it has."""
    fields = NOISES.load(kind).model_fields
    return get(kind, {**{name: value for name, value in inputs.items() if name in fields}, **(options or {})})


def _plain(label_map: Mapping[int, int] | None) -> dict[int, int] | None:
    return None if label_map is None else {int(source): int(target) for source, target in label_map.items()}
