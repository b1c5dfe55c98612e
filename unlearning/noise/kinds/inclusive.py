"""Noise that draws rows first and labels then, so that some drawn rows keep their label.

Rows are drawn with the generator of published feature-space unlearning: Python's, seeded (there with 0 whatever the
experiment's seed), shuffles the row numbers; the first `budget` are drawn. Rows with example ids `train_<number>` are
taken in the order of these numbers, which is the published one.
"""

from __future__ import annotations

import random

import numpy as np

from unlearning.noise.base import Noise, Rows
from unlearning.noise.corruption import Corruption
from unlearning.noise.kinds.asymmetric import Mapped
from unlearning.noise.recorded import example_numbers


class Inclusive(Noise):
    """A kind whose budget counts the drawn rows."""

    def budget_alike(self, corruption: Corruption, other: Rows) -> int:
        """Returns the number of rows to draw at the same rate."""
        if corruption.drawn is None:
            return super().budget_alike(corruption, other)
        return round(corruption.drawn * len(other) / len(corruption.true_labels))


class SymmetricInclusive(Inclusive):
    """Gives `budget` random rows a random one of all classes: on average `budget (1 - 1/K)` labels become wrong.

    This is what much work on CIFAR calls symmetric noise. The drawn rows get their classes in ascending order.
    """

    def draw(self, rows: Rows, budget: int, seed: int) -> Corruption:
        """Draws rows, then their classes."""
        given, (chosen, generator) = rows.split.labels.copy(), _shuffled(rows, budget, seed)
        given[chosen] = [generator.randint(0, rows.num_classes - 1) for _ in chosen]
        return Corruption("symmetric-inclusive", seed, given, rows.split.labels, drawn=budget)


class AsymmetricInclusive(Inclusive, Mapped):
    """Gives `budget` random rows of any class the class each is confused with; rows of other classes keep their label.

    On CIFAR-10, where five of ten classes are confusable, about half of the budget becomes wrong.
    """

    def draw(self, rows: Rows, budget: int, seed: int) -> Corruption:
        """Draws rows of all classes."""
        targets, true = self.targets(rows), rows.split.labels
        given, (chosen, _) = true.copy(), _shuffled(rows, budget, seed)
        given[chosen] = [targets.get(int(label), int(label)) for label in true[chosen]]
        return Corruption("asymmetric-inclusive", seed, given, true, drawn=budget)


def _shuffled(rows: Rows, budget: int, seed: int) -> tuple[np.ndarray, random.Random]:
    """Draws `budget` rows as the published code does; returns them in published order, and the generator after that."""
    generator = random.Random(seed)
    positions = list(range(len(rows)))
    generator.shuffle(positions)
    numbers = example_numbers(rows.ids)
    order = np.arange(len(rows)) if numbers is None else np.argsort(numbers)
    return order[sorted(positions[:budget])], generator
