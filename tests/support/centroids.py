"""A toy rate, and a network for feature-space unlearning."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from unlearning.task import Corrections

PUBLISHED: dict[str, Any] = {
    "preset": "original",
    "schedule": "milestones",
    "learning_rate": 5e-4,
    "clip": 1.0,
    "centroids": "soft",
    "centroid_rows": 0,
    "batch_norm_rows": 0,
}
"""The published schedule in terms of the callback."""
TOY: dict[str, Any] = {
    **PUBLISHED,
    "preset": "nll",
    "learning_rate": 0.02,
    "batch_size": 32,
    "forget_batch_size": 60,
}
"""The same at a rate for a network of a hundred weights instead of millions."""

NOTHING = Corrections(np.empty(0, int), np.empty(0, int))


def plain_model(*, softmax: bool = False, seed: int = 0) -> keras.Model:
    """No batch normalisation, so that the same numbers come out of training and inference mode."""
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((6, 6, 1)),
            layers.Flatten(),
            layers.Dense(8, activation="tanh", name="hidden"),
            layers.Dense(3, activation="softmax" if softmax else None, name="logits"),
        ]
    )
