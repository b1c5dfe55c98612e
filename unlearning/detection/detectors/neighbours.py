"""Judging a row by its neighbours in feature space."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from unlearning.detection.base import Detection, Evidence
from unlearning.detection.cuts import AnyCut
from unlearning.errors import InputError
from unlearning.progress import progress_bar
from unlearning.settings import Positive

if TYPE_CHECKING:
    from sklearn.neighbors import NearestNeighbors

_BLOCK = 1024  # rows whose neighbours are looked for at a time


class Neighbours(AnyCut):
    """The share of a row's nearest neighbours, in penultimate features, that carry another label.

    `scores` are in [0, 1]; by default a row is suspect if most of its neighbours disagree. `suggested_labels` are the
    neighbours' majority. A row is never its own neighbour. Where classes have fewer rows than there are neighbours,
    even good rows disagree with most of them: lower `neighbours`, or draw the line by mixture or share.
    """

    cut: Literal["mixture", "share", "value"] = "value"
    """As elsewhere."""
    value: float | None = 0.5
    """For `cut="value"`: the share of neighbours."""
    neighbours: Positive = 30
    """How many."""
    metric: Literal["cosine", "euclidean"] = "cosine"
    """`cosine` or `euclidean`."""
    weighted: bool = False
    """Weigh neighbours by the inverse of their distance."""

    def examine(self, evidence: Evidence) -> Detection:
        """Does the work of `detect`."""
        from sklearn.neighbors import NearestNeighbors

        labels = evidence.labels
        if self.neighbours >= len(labels):
            raise InputError("neighbours", f"less than the number of rows ({len(labels)})", self.neighbours)
        index = NearestNeighbors(n_neighbors=self.neighbours, metric=self.metric).fit(evidence.features)
        distances, found = _without_itself(index, evidence.features, self.neighbours)
        weights = np.ones_like(distances)
        if self.weighted:
            # A copy of the row lies at distance zero; the floor lets it outvote the others, but stay finite.
            floor = 1e-6 * max(float(distances.mean()), 1e-30)
            weights = 1 / np.maximum(distances, floor)
        votes = np.zeros((len(labels), evidence.num_classes))
        np.add.at(votes, (np.arange(len(labels))[:, np.newaxis], labels[found]), weights)
        votes /= votes.sum(axis=-1, keepdims=True)
        scores = 1 - votes[np.arange(len(labels)), labels]
        details = {"out_of_sample": True, "metric": self.metric, "neighbours": self.neighbours}
        return self._cut(scores, labels, votes.argmax(-1), evidence.seed, details)


def _without_itself(index: NearestNeighbors, features: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns distances and numbers of every row's neighbours, `(rows, count)` each: `index.kneighbors()` in parts."""
    distances, found = [], []
    for start in progress_bar(range(0, len(features), _BLOCK), description="neighbours", unit="part"):
        far, rows = index.kneighbors(features[start : start + _BLOCK], count + 1)
        others = rows != np.arange(start, start + len(rows))[:, np.newaxis]
        others[others.all(axis=1), 0] = False  # among more copies of the row than there are neighbours
        distances.append(far[others].reshape(-1, count))
        found.append(rows[others].reshape(-1, count))
    return np.concatenate(distances), np.concatenate(found)
