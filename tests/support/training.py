"""Tiny models, data and closed forms for tests of training."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from unlearning.training import ShuffledBatches

LOGITS = np.random.default_rng(0).normal(0, 2, (6, 4)).astype("float32")
LABELS = np.array([0, 3, 1, 1, 2, 0])
needs_tensorflow = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="SAM needs TensorFlow")


def tiny_model() -> keras.Model:
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])


def tiny_data(rows: int = 40) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((rows, 4, 4, 1)).astype("float32"), rng.integers(0, 3, rows)


def read_log(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def cross_entropy() -> keras.losses.Loss:
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def linear_model(inputs: int = 5, classes: int = 3) -> keras.Model:
    keras.utils.set_random_seed(1)
    return keras.Sequential([keras.Input((inputs,)), keras.layers.Dense(classes)])


def image_model() -> keras.Model:
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((2, 2, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(6),
            keras.layers.BatchNormalization(),
            keras.layers.Activation("relu"),
            keras.layers.Dropout(0.1),
            keras.layers.Dense(2),
        ]
    )


def blobs(rows: int = 100, noise: float = 0.1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    truth = np.arange(rows) % 2
    images = rng.normal(0, 0.5, (rows, 2, 2, 1)) + (2 * truth - 1)[:, None, None, None]
    given = np.where(rng.random(rows) < noise, 1 - truth, truth)
    return images.astype("float32"), given, truth


def linear_data(rows: int = 8) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    return rng.standard_normal((rows, 5)).astype("float32"), rng.integers(0, 3, rows)


def softmax(logits: np.ndarray) -> np.ndarray:
    exponents = np.exp(logits - logits.max(-1, keepdims=True))
    return exponents / exponents.sum(-1, keepdims=True)


def row_losses(x: np.ndarray, y: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    return -np.log(softmax(x @ kernel + bias)[np.arange(len(y)), y])


def gradient(
    x: np.ndarray, y: np.ndarray, kernel: np.ndarray, bias: np.ndarray, weights: Any = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Of the mean of weighted cross-entropies of a linear softmax model."""
    error = (softmax(x @ kernel + bias) - np.eye(kernel.shape[1])[y]) * np.reshape(weights, (-1, 1)) / len(y)
    return x.T @ error, error.sum(0)


def slope(loss: keras.losses.Loss, labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """The gradient of a loss by central differences in float64."""
    result = np.zeros(logits.shape)
    for index in np.ndindex(*logits.shape):
        for sign in (1, -1):
            moved = logits.astype("float64")
            moved[index] += sign * 1e-5
            result[index] += sign * float(loss(labels, moved)) / 2e-5
    return result


class Plain(keras.utils.PyDataset):
    def __init__(self, *batch: np.ndarray) -> None:
        super().__init__()
        self.batch = batch

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        return self.batch


def batches(**kwargs: Any) -> ShuffledBatches:
    images, labels, _ = blobs(50)
    return ShuffledBatches(images, labels, batch_size=16, seed=4, **kwargs)
