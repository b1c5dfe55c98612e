"""Ways for labels (and images) to go wrong, each returning one `Corruption`.

To add a kind, write a class that derives from `base.Noise`, whose fields are its own inputs, and add one line to
`NOISES`; other packages call `register`, or name an entry point in the group `unlearning.noises`.

Example:
    >>> import numpy as np
    >>> from unlearning.noise import corrupt
    >>> from unlearning.task import Split
    >>> split = Split(np.zeros((6, 2, 2, 1)), np.array([0, 0, 0, 1, 1, 1]))
    >>> corrupt("flip-pairs", split, budget=4, seed=0, num_classes=2).budget
    4
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from unlearning.noise.base import Noise, Rows
from unlearning.noise.corruption import Corruption, Patch
from unlearning.registry import Entry, Registry
from unlearning.task import Split

__all__ = [
    "NOISES",
    "Corruption",
    "Noise",
    "Patch",
    "Rows",
    "available",
    "corrupt",
    "corrupt_alike",
    "entry",
    "get",
    "register",
    "summaries",
]


def _own(name: str, target: str, summary: str, family: str, needs: tuple[str, ...] = ()) -> Entry:
    return Entry(name, f"unlearning.noise.{target}", summary, family=family, needs=frozenset(needs))


NOISES = Registry(
    "noise",
    "unlearning.noises",
    (
        _own("flip-pairs", "pairs:FlipPairs", "classes s and K-1-s exchanged, equally many rows of each", "pairs"),
        _own("symmetric", "symmetric:Symmetric", "any other class", "symmetric"),
        _own("symmetric-inclusive", "symmetric:SymmetricInclusive", "any class, the right one included", "symmetric"),
        _own("asymmetric", "asymmetric:Asymmetric", "the class that looks alike, where there is one", "asymmetric"),
        _own(
            "asymmetric-inclusive",
            "asymmetric:AsymmetricInclusive",
            "the same, drawn among rows of all classes",
            "asymmetric",
        ),
        _own("pair", "pairs:Pair", "the next class", "pairs"),
        _own(
            "subclass-dominant",
            "subclass:SubclassDominant",
            "one subclass of every class for the next class",
            "subclass",
            ("fine_labels",),
        ),
        _own("instance", "instance:InstanceDependent", "a class that the image decides", "instance"),
        _own("human", "human:Human", "labels that people gave", "human", ("labels_file", "ids")),
        _own(
            "recorded", "listed:Recorded", "labels from a list that another program wrote", "recorded", ("labels_file",)
        ),
        _own("backdoor", "backdoor:Backdoor", "a bright square and the label of one class", "backdoor"),
    ),
)
"""Kinds of noise."""

register = NOISES.register
entry = NOISES.entry
available = NOISES.names


def summaries() -> dict[str, str]:
    """Returns one line on each kind, by name."""
    return {one.name: one.summary for one in NOISES.entries()}


def get(name: str, options: Mapping[str, Any] | None = None) -> Noise:
    """Builds a kind of noise by name.

    Args:
        name: A registered name.
        options: Inputs of its own, by field name; text is read as JSON where it is JSON.

    Returns:
        The kind.

    Raises:
        InputError: If there is none of this name, it has no such input, or a value does not fit.

    Example:
        >>> get("backdoor", {"target": "3"}).config()
        {'target': 3}
    """
    chosen = entry(name)
    return chosen.load().parse(name, options or {}, chosen.preset)


def corrupt(
    kind: str,
    split: Split,
    *,
    budget: int | None = None,
    seed: int,
    num_classes: int,
    data_name: str = "",
    ids: np.ndarray | None = None,
    pixel_max: float = 255.0,
    fine_labels: np.ndarray | None = None,
    **options: Any,
) -> Corruption:
    """Corrupts a split.

    Args:
        kind: A registered kind.
        split: Images and true labels; not changed.
        budget: Number of rows to corrupt (`symmetric-inclusive` and `asymmetric-inclusive`: to draw, of which some keep
            their label); None for kinds whose file of labels decides.
        seed: Seed of the choice of rows and labels.
        num_classes: Number of classes `K`.
        data_name: Name of the image set; the asymmetric kinds know maps for `cifar10` and `cifar100`.
        ids: Example ids of the rows (`human`; `recorded` and the inclusive kinds, where the set has them).
        pixel_max: Brightness of the patch (`backdoor`).
        fine_labels: int array `(rows,)`: the fine class behind each label (`subclass-dominant`).
        **options: The kind's own inputs, such as `labels_file`, `labels_key`, `label_map` or `target`.

    Returns:
        The corruption; its true labels are the split's labels.

    Raises:
        InputError: If the kind is unknown, the budget cannot be met, or something a kind needs is missing.
    """
    chosen = get(kind, options)
    return chosen.corrupt(Rows(split, num_classes, data_name, ids, pixel_max, fine_labels), budget, seed)


def corrupt_alike(
    corruption: Corruption,
    split: Split,
    *,
    num_classes: int,
    seed: int,
    data_name: str = "",
    fine_labels: np.ndarray | None = None,
    **options: Any,
) -> Corruption:
    """Corrupts another split by the same process and at the same rate; see `Noise.alike`.

    Args:
        corruption: What happened to the training rows.
        split: The other rows with their true labels.
        num_classes: Number of classes.
        seed: Seed; use another one than the training rows'.
        data_name: Name of the image set.
        fine_labels: Fine classes of `split`.
        **options: The kind's own inputs, such as the `label_map` of the training rows.

    Returns:
        The corruption of `split`.

    Raises:
        InputError: If the labels of `split` are not classes, or it has too few rows of the classes to corrupt.
    """
    other = Rows(split, num_classes, data_name, fine_labels=fine_labels)
    return get(corruption.kind, options).alike(corruption, other, other, seed)
