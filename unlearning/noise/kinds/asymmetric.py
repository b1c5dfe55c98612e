"""Mistakes between classes that look alike."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from unlearning.errors import InputError
from unlearning.noise.base import Noise, Rows
from unlearning.noise.corruption import Corruption

CIFAR10_MAP = {9: 1, 2: 0, 4: 7, 3: 5, 5: 3}
"""truck to automobile, bird to airplane, deer to horse, cat and dog to each other (Patrini et al., CVPR 2017)."""

# The superclass of each CIFAR-100 class, in label order (Krizhevsky, 2009).
_CIFAR100_SUPERCLASS = (
    *(4, 1, 14, 8, 0, 6, 7, 7, 18, 3, 3, 14, 9, 18, 7, 11, 3, 9, 7, 11),
    *(6, 11, 5, 10, 7, 6, 13, 15, 3, 15, 0, 11, 1, 10, 12, 14, 16, 9, 11, 5),
    *(5, 19, 8, 8, 15, 13, 14, 17, 18, 10, 16, 4, 17, 4, 2, 0, 17, 4, 18, 17),
    *(10, 3, 2, 12, 12, 16, 12, 1, 9, 19, 2, 10, 0, 1, 16, 12, 9, 13, 15, 13),
    *(16, 19, 2, 4, 6, 19, 5, 5, 8, 19, 18, 1, 2, 15, 6, 0, 17, 8, 14, 13),
)


def cifar100_map() -> dict[int, int]:
    """Returns the next class within its superclass for each CIFAR-100 class, cyclically in label order."""
    superclass = np.array(_CIFAR100_SUPERCLASS)
    following: dict[int, int] = {}
    for group in range(20):
        members = np.flatnonzero(superclass == group)
        following.update(zip(members.tolist(), np.roll(members, -1).tolist(), strict=True))
    return following


class Mapped(Noise):
    """A kind that mistakes each confusable class for one other."""

    label_map: dict[int, int] | None = None
    """Source to target classes (default: those known for cifar10 and cifar100)."""

    def targets(self, rows: Rows) -> Mapping[int, int]:
        """Returns the map of confusable classes: the caller's, or that of a known set.

        Raises:
            InputError: If there is none, or it names what are no two classes.
        """
        targets = self.label_map
        if targets is None:
            if rows.data_name not in ("cifar10", "cifar100"):
                raise InputError(
                    f"Asymmetric noise needs a map of confusable classes, and there is none for {rows.data_name!r}, "
                    "only for cifar10 and cifar100. Pass one, or use the noise 'pair'."
                )
            targets = CIFAR10_MAP if rows.data_name == "cifar10" else cifar100_map()
        classes = rows.num_classes
        for source, target in targets.items():
            if not (0 <= source < classes and 0 <= target < classes) or source == target:
                raise InputError("label_map", f"pairs of different classes 0..{classes - 1}", f"{source}: {target}")
        return targets


class Asymmetric(Mapped):
    """Gives `budget` random rows of the confusable classes the class each is confused with."""

    def draw(self, rows: Rows, budget: int, seed: int) -> Corruption:
        """Draws among the rows of confusable classes."""
        targets = self.targets(rows)
        true, rng = rows.split.labels, np.random.default_rng(seed)
        candidates = np.flatnonzero(np.isin(true, list(targets)))
        if budget > len(candidates):
            raise InputError("budget", f"at most {len(candidates)}, the rows of confusable classes", budget)
        chosen = rng.choice(candidates, budget, replace=False)
        given = true.copy()
        given[chosen] = [targets[int(label)] for label in true[chosen]]
        return Corruption("asymmetric", seed, given, true)
