"""Mistakes of one subclass in every class.

After the subclass-dominant noise of feature-space unlearning on the 20 superclasses of CIFAR-100. There each row is
drawn with probability `5 r`, and of the drawn rows those of the moved subclass (one in five) get a wrong label; given
the number of wrong labels, that is the draw made here. So `budget` is there at most a fifth of the rows.
"""

from __future__ import annotations

import numpy as np

from unlearning.errors import InputError
from unlearning.noise.base import Noise, Rows
from unlearning.noise.corruption import Corruption


class SubclassDominant(Noise):
    """Mistakes one subclass of every class for the next class: `budget` random rows of these get its label."""

    label_map: dict[int, int] | None = None
    """Fine classes to the classes they are mistaken for (default: the first fine class of every class, to the next)."""

    def draw(self, rows: Rows, budget: int, seed: int) -> Corruption:
        """Draws among the rows of moved subclasses."""
        true, classes = rows.split.labels, rows.num_classes
        targets = self.label_map
        if targets is None:
            targets = moved_subclasses(true, rows.fine_labels, classes)
        fine = check_fine_labels(rows.fine_labels, len(true))
        candidates = np.flatnonzero(np.isin(fine, list(targets)))
        for row in candidates:
            target = targets[int(fine[row])]
            if not 0 <= target < classes or target == true[row]:
                raise InputError(
                    "label_map", f"fine classes to another class 0..{classes - 1}", f"{fine[row]}: {target}"
                )
        if budget > len(candidates):
            raise InputError("budget", f"at most {len(candidates)}, the rows of moved subclasses", budget)
        chosen = np.random.default_rng(seed).choice(candidates, budget, replace=False)
        given = true.copy()
        given[chosen] = [targets[int(label)] for label in fine[chosen]]
        return Corruption("subclass-dominant", seed, given, true)

    def alike(self, corruption: Corruption, train: Rows, other: Rows, seed: int) -> Corruption:
        """Moves the subclasses that were moved in the training rows; other rows may be so few that they lack one."""
        if self.label_map is None:
            moved = moved_subclasses(train.split.labels, train.fine_labels, train.num_classes)
            return self.changed(label_map=moved).alike(corruption, train, other, seed)
        return super().alike(corruption, train, other, seed)

    def budget_alike(self, corruption: Corruption, other: Rows) -> int:
        """Returns the budget at the same rate, or less where the other rows have fewer rows of the subclasses."""
        fine = check_fine_labels(other.fine_labels, len(other))
        moved = int(np.isin(fine, list(self.label_map or ())).sum())
        return min(super().budget_alike(corruption, other), moved)


def moved_subclasses(labels: np.ndarray, fine_labels: np.ndarray | None, num_classes: int) -> dict[int, int]:
    """Returns the first fine class of every class, in label order, and the next class, for which it is mistaken.

    Args:
        labels: int array `(rows,)` of classes.
        fine_labels: int array `(rows,)` of fine classes, each within one class.
        num_classes: Number of classes.

    Raises:
        InputError: If there are no fine labels, or they do not divide the classes.
    """
    fine = check_fine_labels(fine_labels, len(labels))
    pairs = np.unique(np.stack([fine, labels], axis=1), axis=0)
    if len(pairs) > len(np.unique(fine)):
        raise InputError("fine_labels", "fine classes that each lie within one class", "one that lies in several")
    first: dict[int, int] = {}
    for subclass, label in pairs.tolist():
        first.setdefault(label, subclass)
    return {subclass: (label + 1) % num_classes for label, subclass in first.items()}


def check_fine_labels(fine_labels: np.ndarray | None, rows: int) -> np.ndarray:
    """Returns fine labels, and raises `InputError` if there are none or not one integer a row."""
    if fine_labels is None:
        raise InputError(
            "Subclass-dominant noise needs the fine classes behind the labels, and this data set has none. "
            "cifar100-superclasses has them, and so has a .npz file with the array fine_labels."
        )
    fine = np.asarray(fine_labels)
    if fine.shape != (rows,) or not np.issubdtype(fine.dtype, np.integer):
        raise InputError("fine_labels", f"{rows} integers, one a row", f"{fine.dtype} of shape {fine.shape}")
    return fine
