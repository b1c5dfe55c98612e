"""The exchange of classes in the published CIFAR-10 experiments (Warnecke et al., NDSS 2023)."""

from __future__ import annotations

import numpy as np

from unlearning.errors import InputError
from unlearning.noise.base import Noise, Rows
from unlearning.noise.corruption import Corruption


class FlipPairs(Noise):
    """Exchanges classes `s` and `K-1-s`: `budget // K` rows of every class, first come in one random order.

    This is the published procedure, rows and order included: the order is `RandomState(seed).permutation`, the classes
    are read from the untouched labels.
    """

    def draw(self, rows: Rows, budget: int, seed: int) -> Corruption:
        """Takes the first rows of every class."""
        true, classes = rows.split.labels, rows.num_classes
        share = budget // classes
        if share < 1:
            raise InputError("budget", f"at least {classes}, one flip a class", budget)
        order = np.random.RandomState(seed).permutation(len(true))
        given = true.copy()
        for source in range(classes):
            of_class = order[true[order] == source]
            if len(of_class) < share:
                raise InputError(
                    "budget",
                    f"at most {classes * min(np.bincount(true, minlength=classes))}: {share} flips a class are needed, "
                    f"and class {source} has {len(of_class)} rows",
                    budget,
                )
            given[of_class[:share]] = classes - 1 - source
        return Corruption("flip-pairs", seed, given, true)

    def budget_alike(self, corruption: Corruption, other: Rows) -> int:
        """Returns the budget whose flips are the share of a corruption, rounded down to whole rounds of classes."""
        # An odd number of classes leaves the middle one facing itself: its share of the budget changes nothing.
        flipping = other.num_classes - other.num_classes % 2
        return corruption.budget * len(other) // (len(corruption.true_labels) * flipping) * other.num_classes
