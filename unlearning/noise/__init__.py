"""Ways for labels (and images) to go wrong, each returning one `Corruption`.

To add a kind, write a function `(Request) -> Corruption` and add one line to `NOISE_KINDS`.

Example:
    >>> import numpy as np
    >>> from unlearning.noise import corrupt
    >>> from unlearning.task import Split
    >>> split = Split(np.zeros((6, 2, 2, 1)), np.array([0, 0, 0, 1, 1, 1]))
    >>> corrupt("flip-pairs", split, budget=4, seed=0, num_classes=2).budget
    4
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

import numpy as np

from unlearning.errors import invalid
from unlearning.noise import backdoor, labels, recorded
from unlearning.noise.corruption import Corruption, Patch, Request
from unlearning.task import Split

NOISE_KINDS: dict[str, Callable[[Request], Corruption]] = {
    "flip-pairs": labels.flip_pairs,
    "symmetric": labels.symmetric,
    "symmetric-inclusive": labels.symmetric_inclusive,
    "asymmetric": labels.asymmetric,
    "asymmetric-inclusive": labels.asymmetric_inclusive,
    "pair": labels.pair,
    "subclass-dominant": labels.subclass_dominant,
    "instance": labels.instance_dependent,
    "human": labels.human,
    "recorded": recorded.recorded,
    "backdoor": backdoor.patch_images,
}
"""Noise functions by name."""

FROM_FILE = ("human", "recorded")
"""Kinds that take the labels from a file, which therefore decides how many rows are bad."""

__all__ = ["FROM_FILE", "NOISE_KINDS", "Corruption", "Patch", "corrupt", "corrupt_alike"]


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
    pixel_max: float = 255.0,
    fine_labels: np.ndarray | None = None,
) -> Corruption:
    """Corrupts a split.

    Args:
        kind: One of `NOISE_KINDS`.
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
        pixel_max: Brightness of the patch (`backdoor`).
        fine_labels: int array `(rows,)`: the fine class behind each label (`subclass-dominant`).

    Returns:
        The corruption; its true labels are the split's labels.

    Raises:
        InputError: If the kind is unknown, the budget cannot be met, or something a kind needs is missing.
    """
    if kind not in NOISE_KINDS:
        raise invalid("noise", f"one of {', '.join(NOISE_KINDS)}", kind)
    _check(split, seed, num_classes)
    if ids is not None and len(ids) != len(split):
        raise invalid("ids", f"one id per row ({len(split)})", len(ids))
    if kind in FROM_FILE:
        if budget:
            raise invalid("budget", f"no budget with {kind} noise (the labels file decides)", budget)
    elif not isinstance(budget, (int, np.integer)) or not 1 <= budget <= len(split):
        raise invalid("budget", f"an integer in 1..{len(split)}, the number of rows", budget)
    return NOISE_KINDS[kind](
        Request(
            split=split,
            budget=budget or 0,
            seed=seed,
            num_classes=num_classes,
            data_name=data_name,
            ids=ids,
            labels_file=labels_file,
            labels_key=labels_key,
            label_map=label_map,
            target=target,
            pixel_max=pixel_max,
            fine_labels=fine_labels,
        )
    )


def corrupt_alike(
    corruption: Corruption,
    split: Split,
    *,
    num_classes: int,
    seed: int,
    data_name: str = "",
    label_map: Mapping[int, int] | None = None,
    fine_labels: np.ndarray | None = None,
) -> Corruption:
    """Corrupts another split by the same process and at the same rate.

    This is what makes a validation split honest: a user whose training labels are wrong has validation labels that are
    wrong in the same way. Human annotations and recorded labels exist for the training rows only; there, labels are
    drawn from the class transition matrix that the training rows show.

    Args:
        corruption: What happened to the training rows.
        split: The other rows with their true labels.
        num_classes: Number of classes.
        seed: Seed; use another one than the training rows'.
        data_name: Name of the image set.
        label_map: As for `corrupt`.
        fine_labels: Fine classes of `split`, as for `corrupt`.

    Returns:
        The corruption of `split`.

    Raises:
        InputError: If the labels of `split` are not classes, or it has too few rows of the classes to corrupt.
    """
    _check(split, seed, num_classes)
    if corruption.kind in FROM_FILE:
        return labels.from_transitions(corruption, split, num_classes, seed)
    budget = round(corruption.rate * len(split))
    if corruption.kind == "flip-pairs":
        # An odd number of classes leaves the middle one facing itself: its share of the budget changes nothing.
        flipping = num_classes - num_classes % 2
        budget = corruption.budget * len(split) // (len(corruption.true_labels) * flipping) * num_classes
    elif corruption.drawn is not None:
        budget = round(corruption.drawn * len(split) / len(corruption.true_labels))
    elif corruption.kind == "subclass-dominant":
        # Where all rows of the moved subclasses are bad, the other rows may have fewer of them than their share.
        targets = label_map or labels.moved_subclasses(split.labels, fine_labels, num_classes)
        fine = labels.check_fine_labels(fine_labels, len(split))
        budget = min(budget, int(np.isin(fine, list(targets)).sum()))
    if budget < 1:
        return Corruption(corruption.kind, seed, split.labels.copy(), split.labels.copy())
    return corrupt(
        corruption.kind,
        split,
        budget=budget,
        seed=seed,
        num_classes=num_classes,
        data_name=data_name,
        label_map=label_map,
        target=0 if corruption.patch is None else corruption.patch.target,
        pixel_max=255.0 if corruption.patch is None else corruption.patch.value,
        fine_labels=fine_labels,
    )


def _check(split: Split, seed: int, num_classes: int) -> None:
    """Refuses what no kind of noise can work with."""
    if num_classes < 2:
        raise invalid("num_classes", "at least 2, as a wrong label is another class", num_classes)
    if not 0 <= seed < 2**32:
        raise invalid("seed", "an integer in 0..2**32-1", seed)
    if len(split) and not 0 <= split.labels.min() <= split.labels.max() < num_classes:
        raise invalid("labels", f"classes 0..{num_classes - 1}", f"{split.labels.min()}..{split.labels.max()}")
