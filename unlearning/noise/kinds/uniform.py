"""Wrong labels for rows of all classes alike."""

from __future__ import annotations

import numpy as np

from unlearning.noise.base import Noise, Rows
from unlearning.noise.corruption import Corruption


class Symmetric(Noise):
    """Gives `budget` random rows a random one of the other classes."""

    def draw(self, rows: Rows, budget: int, seed: int) -> Corruption:
        """Draws rows, then their classes."""
        true, rng = rows.split.labels, np.random.default_rng(seed)
        chosen = rng.choice(len(true), budget, replace=False)
        given = true.copy()
        given[chosen] = (true[chosen] + rng.integers(1, rows.num_classes, len(chosen))) % rows.num_classes
        return Corruption("symmetric", seed, given, true)


class Pair(Noise):
    """Gives `budget` random rows the next class."""

    def draw(self, rows: Rows, budget: int, seed: int) -> Corruption:
        """Draws rows."""
        true, rng = rows.split.labels, np.random.default_rng(seed)
        chosen = rng.choice(len(true), budget, replace=False)
        given = true.copy()
        given[chosen] = (true[chosen] + 1) % rows.num_classes
        return Corruption("pair", seed, given, true)
