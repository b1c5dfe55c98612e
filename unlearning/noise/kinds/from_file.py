"""Noise whose labels stand in a file, which exists for the training rows only."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from unlearning.noise.base import Noise, Rows, check_seed
from unlearning.noise.corruption import Corruption


class FromFile(Noise):
    """A kind whose file decides which rows are wrong, and how."""

    needs_budget: ClassVar[bool] = False

    def alike(self, corruption: Corruption, train: Rows, other: Rows, seed: int) -> Corruption:
        """Draws labels for other rows from the class transition matrix that the training rows show."""
        check_seed(seed)
        classes, true = other.num_classes, other.split.labels
        counts = np.zeros((classes, classes))
        np.add.at(counts, (corruption.true_labels, corruption.given_labels), 1)
        counts[counts.sum(axis=1) == 0] = np.eye(classes)[counts.sum(axis=1) == 0]
        cumulative = np.cumsum(counts / counts.sum(axis=1, keepdims=True), axis=1)
        draws = np.random.default_rng(seed).random((len(other), 1)) * cumulative[true][:, -1:]
        given = (draws >= cumulative[true]).sum(axis=1)
        return Corruption(corruption.kind, seed, given, true)
