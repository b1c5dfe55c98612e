"""Labels exchanged between pairs of classes."""

from __future__ import annotations

import numpy as np

from unlearning.errors import invalid
from unlearning.noise.base import Noise, Rows
from unlearning.noise.corruption import Corruption


class FlipPairs(Noise):
    """Exchanges classes `s` and `K-1-s`: `budget // K` rows of every class, first come in one random order.

    This is the procedure of the published CIFAR-10 experiments (Warnecke et al., NDSS 2023), rows and order included:
    the order is `RandomState(seed).permutation`, the classes are read from the untouched labels.
    """

    def _draw(self, rows: Rows, budget: int, seed: int) -> Corruption:
        true, classes = rows.split.labels, rows.num_classes
        share = budget // classes
        if share < 1:
            raise invalid("budget", f"at least {classes}, one flip a class", budget)
        order = np.random.RandomState(seed).permutation(len(true))
        given = true.copy()
        for source in range(classes):
            chosen = order[true[order] == source]
            if len(chosen) < share:
                raise invalid(
                    "budget",
                    f"at most {classes * min(np.bincount(true, minlength=classes))}: {share} flips a class are needed, "
                    f"and class {source} has {len(chosen)} rows",
                    budget,
                )
            given[chosen[:share]] = classes - 1 - source
        return Corruption("flip-pairs", seed, given, true)

    def _alike_budget(self, corruption: Corruption, other: Rows) -> int:
        # An odd number of classes leaves the middle one facing itself: its share of the budget changes nothing.
        classes = other.num_classes
        flipping = classes - classes % 2
        return corruption.budget * len(other) // (len(corruption.true_labels) * flipping) * classes


class Pair(Noise):
    """Gives `budget` random rows the next class."""

    def _draw(self, rows: Rows, budget: int, seed: int) -> Corruption:
        true, rng = rows.split.labels, np.random.default_rng(seed)
        chosen = rng.choice(len(true), budget, replace=False)
        given = true.copy()
        given[chosen] = (true[chosen] + 1) % rows.num_classes
        return Corruption("pair", seed, given, true)
