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
from unlearning.noise import backdoor, labels
from unlearning.noise.corruption import Corruption, Patch, Request
from unlearning.task import Split

NOISE_KINDS: dict[str, Callable[[Request], Corruption]] = {
    "flip-pairs": labels.flip_pairs,
    "symmetric": labels.symmetric,
    "asymmetric": labels.asymmetric,
    "pair": labels.pair,
    "instance": labels.instance_dependent,
    "human": labels.human,
    "backdoor": backdoor.patch_images,
}
"""Noise functions by name."""

__all__ = ["NOISE_KINDS", "Corruption", "Patch", "corrupt", "corrupt_alike"]


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
) -> Corruption:
    """Corrupts a split.

    Args:
        kind: One of `NOISE_KINDS`.
        split: Images and true labels; not changed.
        budget: Number of rows to corrupt; None or 0 for `human`, whose file decides.
        seed: Seed of the choice of rows and labels.
        num_classes: Number of classes `K`.
        data_name: Name of the image set; `asymmetric` knows maps for `cifar10` and `cifar100`.
        ids: Example ids of the rows (`human`).
        labels_file: The human labels (`human`).
        labels_key: Which array of that file to use (`human`).
        label_map: Source to target classes (`asymmetric`; replaces the built-in map).
        target: The label that a patched image gets (`backdoor`).
        pixel_max: Brightness of the patch (`backdoor`).

    Returns:
        The corruption; its true labels are the split's labels.

    Raises:
        InputError: If the kind is unknown, the budget cannot be met, or something a kind needs is missing.
    """
    if kind not in NOISE_KINDS:
        raise invalid("noise", f"one of {', '.join(NOISE_KINDS)}", kind)
    _check(split, seed, num_classes)
    if kind == "human":
        if budget:
            raise invalid("budget", "no budget with human noise (the labels file decides)", budget)
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
) -> Corruption:
    """Corrupts another split by the same process and at the same rate.

    This is what makes a validation split honest: a user whose training labels are wrong has validation labels that are
    wrong in the same way. Human annotations exist for the training rows only; there, labels are drawn from the class
    transition matrix that the training rows show.

    Args:
        corruption: What happened to the training rows.
        split: The other rows with their true labels.
        num_classes: Number of classes.
        seed: Seed; use another one than the training rows'.
        data_name: Name of the image set.
        label_map: As for `corrupt`.

    Returns:
        The corruption of `split`.

    Raises:
        InputError: If the labels of `split` are not classes, or it has too few rows of the classes to corrupt.
    """
    _check(split, seed, num_classes)
    if corruption.kind == "human":
        return labels.from_transitions(corruption, split, num_classes, seed)
    budget = round(corruption.rate * len(split))
    if corruption.kind == "flip-pairs":
        # An odd number of classes leaves the middle one facing itself: its share of the budget changes nothing.
        flipping = num_classes - num_classes % 2
        budget = corruption.budget * len(split) // (len(corruption.true_labels) * flipping) * num_classes
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
    )


def _check(split: Split, seed: int, num_classes: int) -> None:
    """Refuses what no kind of noise can work with."""
    if num_classes < 2:
        raise invalid("num_classes", "at least 2, as a wrong label is another class", num_classes)
    if not 0 <= seed < 2**32:
        raise invalid("seed", "an integer in 0..2**32-1", seed)
    if len(split) and not 0 <= split.labels.min() <= split.labels.max() < num_classes:
        raise invalid("labels", f"classes 0..{num_classes - 1}", f"{split.labels.min()}..{split.labels.max()}")
