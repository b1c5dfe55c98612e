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
    """`"original"`: factors for models trained with plain cross-entropy; `"nll"`: for those whose training already
    resisted wrong labels; see `PRESETS`."""
    epochs: Positive | None = 15
    """Passes over the retain rows."""
    learning_rate: PositiveFloat | None = 5e-4
    """Of the first epoch."""
    schedule: Schedule = "milestones"
    """`"milestones"`: the learning rate falls after some epochs, and the model is scored after each epoch."""
    optimizer: Optimizer = "sgd"
    """`"sgd"`: with momentum, and weight decay that is decoupled."""
    clip: PositiveFloat | None = 1.0
    """Largest absolute value of a gradient entry in both passes; it bounds the steps."""
    centroids: Literal["soft", "hard"] = "soft"
    """`"soft"`: rows count towards each class by the predicted probability."""
    centroid_rows: CentroidRows = 0
    """0: the centroids are made of all retain rows."""
    batch_norm_rows: Count = 0
    """0: batch statistics are the moving averages of the training."""
    trainable_from: Boundary = "all"
    """`"all"`: every weight moves."""
    cache_features: Cached = False
    """Nothing lies below them all."""
