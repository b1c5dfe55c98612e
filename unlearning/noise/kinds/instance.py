"""Noise that depends on the image (after Xia et al., "Part-dependent Label Noise", NeurIPS 2020)."""

from __future__ import annotations

import numpy as np

from unlearning.noise.base import Noise, Rows
from unlearning.noise.corruption import Corruption, require_in_memory


class InstanceDependent(Noise):
    """Lets the image decide: rows near a random boundary flip to the class on its other side.

    A random matrix per true class maps the standardised image to scores of the other classes. In the paper flip
    probabilities vary by row; here `budget` rows are drawn without replacement in proportion to such probabilities, so
    that the number of flips is exact.
    """

    def draw(self, rows: Rows, budget: int, seed: int) -> Corruption:
        """Draws rows, then a matrix per class, then their classes."""
        require_in_memory(rows.split, "Instance-dependent noise compares the pixels of all rows that it changes")
        true, classes = rows.split.labels, rows.num_classes
        rng = np.random.default_rng(seed)
        rates = np.clip(rng.normal(budget / len(true), 0.1, len(true)), 1e-3, 1)
        chosen = np.sort(rng.choice(len(true), budget, replace=False, p=rates / rates.sum()))
        flat = np.asarray(rows.split.images[chosen], dtype=np.float64).reshape(len(chosen), -1)
        flat = (flat - flat.mean()) / (flat.std() or 1.0)
        given = true.copy()
        for source in range(classes):
            projection = rng.standard_normal((flat.shape[1], classes)) / np.sqrt(flat.shape[1])
            of_class = true[chosen] == source
            members, scores = chosen[of_class], flat[of_class] @ projection
            scores[:, source] = -np.inf
            exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
            cumulative = np.cumsum(exponentials / exponentials.sum(axis=1, keepdims=True), axis=1)
            # The bound keeps a sum of 1 - epsilon from choosing past the last class.
            draws = rng.random((len(members), 1)) * cumulative[:, -1:]
            given[members] = (draws >= cumulative).sum(axis=1)
        return Corruption("instance", seed, given, true)
