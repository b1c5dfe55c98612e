"""Splits and corruptions of the noise tests."""

from __future__ import annotations

import numpy as np

from unlearning.noise import Corruption, corrupt
from unlearning.task import Split


def make_split(rows: int = 200, classes: int = 10, seed: int = 0) -> Split:
    rng = np.random.default_rng(seed)
    return Split(rng.integers(0, 256, (rows, 8, 8, 3)).astype(np.uint8), rng.integers(0, classes, rows))


def make(kind: str, split: Split, budget: int = 40, seed: int = 0, **options) -> Corruption:
    return corrupt(
        kind, split, **{"budget": budget, "seed": seed, "num_classes": 10, "data_name": "cifar10", **options}
    )
