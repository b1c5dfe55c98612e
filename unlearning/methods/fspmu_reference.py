"""Feature-space unlearning by its published schedule: forget rows leave the class centroids, the others close up.

    L_forget = -eta KL(old || new) + zeta push,   L_retain = gamma CE - delta alignment      (see `centroids.losses`)

After github.com/meruemon/FSPMU: each of the first epochs begins with a pass over the rows to forget, SGD with momentum
moves all weights, its learning rate falls by milestones, and gradients are clipped by entry. The epoch is chosen on
validation rows, where the published code takes the test set.

Example:
    >>> from unlearning.methods.fspmu_reference import FspmuReference
    >>> outcome = FspmuReference(epochs=2).unlearn(model, task)
    >>> outcome.validation_accuracy_after >= outcome.validation_accuracy_before
    True
"""

from __future__ import annotations

from typing import Literal

from unlearning.centroids.settings import CentroidRows, Preset, Schedule
from unlearning.methods.fspmu import Boundary, Cached, Fspmu, Optimizer
from unlearning.settings import Count, Positive, PositiveFloat


class FspmuReference(Fspmu):
    """The published schedule; the fields are those of `Fspmu`, and these have other defaults."""

    preset: Preset = "original"
    """See `Fspmu`."""
    epochs: Positive | None = 15
    """See `Fspmu`."""
    learning_rate: PositiveFloat | None = 5e-4
    """See `Fspmu`."""
    schedule: Schedule = "milestones"
    """See `Fspmu`."""
    optimizer: Optimizer = "sgd"
    """See `Fspmu`."""
    clip: PositiveFloat | None = 1.0
    """See `Fspmu`."""
    centroids: Literal["soft", "hard"] = "soft"
    """See `Fspmu`."""
    centroid_rows: CentroidRows = 0
    """See `Fspmu`."""
    batch_norm_rows: Count = 0
    """See `Fspmu`."""
    trainable_from: Boundary = "all"
    """See `Fspmu`."""
    cache_features: Cached = False
    """See `Fspmu`."""
