"""Labels replaced by any class at random."""

from __future__ import annotations

import random

import numpy as np

from unlearning.noise.base import Noise, Rows
from unlearning.noise.corruption import Corruption
from unlearning.noise.recorded import example_numbers


class Symmetric(Noise):
    """Gives `budget` random rows a random one of the other classes."""

    def _draw(self, rows: Rows, budget: int, seed: int) -> Corruption:
        true, rng = rows.split.labels, np.random.default_rng(seed)
        chosen = rng.choice(len(true), budget, replace=False)
        given = true.copy()
        given[chosen] = (true[chosen] + rng.integers(1, rows.num_classes, len(chosen))) % rows.num_classes
        return Corruption("symmetric", seed, given, true)


class SymmetricInclusive(Noise):
    """Gives `budget` random rows a random one of all classes: on average `budget (1 - 1/K)` labels become wrong.

    What much work on CIFAR calls symmetric noise, with the generator of published feature-space unlearning: Python's,
    seeded (there with 0 whatever the experiment's seed), shuffles the row numbers; the first `budget` are drawn and get
    their classes in ascending order. Rows with example ids `train_<number>` are taken in the order of these numbers,
    which is the published one.
    """

    def _draw(self, rows: Rows, budget: int, seed: int) -> Corruption:
        given, (chosen, generator) = rows.split.labels.copy(), shuffled(rows, budget, seed)
        given[chosen] = [generator.randint(0, rows.num_classes - 1) for _ in chosen]
        return Corruption("symmetric-inclusive", seed, given, rows.split.labels, drawn=budget)


def shuffled(rows: Rows, budget: int, seed: int) -> tuple[np.ndarray, random.Random]:
    """Draws `budget` rows as the published code does; returns them in published order, and the generator after that."""
    generator, total = random.Random(seed), len(rows)
    positions = list(range(total))
    generator.shuffle(positions)
    numbers = example_numbers(rows.ids)
    order = np.arange(total) if numbers is None else np.argsort(numbers)
    return order[sorted(positions[:budget])], generator
