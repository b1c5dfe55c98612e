"""Models, rows and short cuts for tests of detectors."""

from __future__ import annotations

import keras
import numpy as np
from sklearn.datasets import load_digits

from unlearning import detection
from unlearning.detection.base import Detection
from unlearning.task import Split

FLIPS = 80


class Streamed:
    """Images that only give out batches, as those read from disk do."""

    def __init__(self, images: np.ndarray) -> None:
        self._images = images
        self.shape, self.dtype, self.nbytes = images.shape, images.dtype, images.nbytes

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, rows):
        return self._images[rows]

    def __array__(self, dtype=None, copy=None):
        raise AssertionError("all images were asked for at once")


def scored(losses: np.ndarray) -> tuple[keras.Model, Split]:
    """A two-class model without weights, whose cross-entropies on the split are the given numbers."""
    model = keras.Sequential([keras.Input((1, 1, 2)), keras.layers.Flatten(), keras.layers.Softmax()])
    images = np.zeros((len(losses), 1, 1, 2), np.float32)
    images[:, 0, 0, 1] = np.log(np.expm1(losses))  # -log softmax_0 = log(1 + exp(difference))
    return model, Split(images, np.zeros(len(losses), np.int64))


def detect(name: str, model: keras.Model, split: Split, classes: int = 3, seed: int = 0, **options) -> Detection:
    return detection.get(name, options).detect(model, split, classes, seed)


def digits(rows: int = 500, flips: int = 100) -> tuple[Split, np.ndarray]:
    """Digits of which the first rows carry the next class as their label; and the true labels."""
    images, true = load_digits(return_X_y=True)
    images = images[:rows].reshape(-1, 8, 8, 1).astype(np.float32)
    given = true[:rows].copy()
    given[:flips] = (given[:flips] + 1) % 10
    return Split(images, given), true[:rows].astype(np.int64)


def digit_model() -> keras.Model:
    layers = keras.layers
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Rescaling(1 / 16),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dense(10),
        ]
    )
