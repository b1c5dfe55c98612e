"""Tiny models and tasks."""

from __future__ import annotations

import hashlib
import re

import keras
import numpy as np

from unlearning.task import Corrections, Split, UnlearningTask

_LEARNED: dict[bytes, list[np.ndarray]] = {}
"""What `fitted` has trained, by a hash of all that it was told."""


def small_model(
    classes: int = 3, *, hidden: int = 4, seed: int = 0, regulariser=None, softmax: bool = False
) -> keras.Model:
    """A convolution, a batch normalisation, and a two-layer head on 6x6 images; 9 to 4 features."""
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((6, 6, 1)),
            layers.Conv2D(2, 3, strides=2, name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(name="relu"),
            layers.Flatten(name="flatten"),
            layers.Dense(hidden, activation="tanh", kernel_regularizer=regulariser, name="hidden"),
            layers.Dense(
                classes, activation="softmax" if softmax else None, kernel_regularizer=regulariser, name="logits"
            ),
        ]
    )


def blobs(rows: int, classes: int = 3, *, seed: int = 0, noise: float = 0.5) -> Split:
    """Images whose class is visible: one bright stripe per class plus noise."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, rows)
    images = noise * rng.standard_normal((rows, 6, 6, 1))
    for k in range(classes):
        images[labels == k, (k * 6) // classes] += 1.5
    return Split(images.astype(np.float32), labels)


def poisoned_task(
    rows: int = 240, flips: int = 60, classes: int = 3, seed: int = 0, validation: int = 480
) -> tuple[UnlearningTask, np.ndarray]:
    """A task whose first `flips` rows carry the next class's label; returns the task and the true labels."""
    true = blobs(rows, classes, seed=seed)
    given = true.labels.copy()
    given[:flips] = (given[:flips] + 1) % classes
    task = UnlearningTask(
        train=Split(true.images, given),
        corrections=Corrections(np.arange(flips), true.labels[:flips]),
        validation=blobs(validation, classes, seed=seed + 1),
        num_classes=classes,
        seed=seed,
    )
    return task, true.labels


def fitted(
    model: keras.Model, split: Split, *, epochs: int = 60, learning_rate: float = 0.01, at_once: bool = True
) -> keras.Model:
    """Trains a model on a split, quietly; the same model on the same rows is trained once in a process.

    All epochs are one call of a compiled loop, since to start one takes as long as 20 steps of so small a network; or
    they are those of `fit`, for tests that know what becomes of just that model.

    Returns:
        The model.
    """
    structure = re.sub(r'"name": "[^"]*"', "", model.to_json())  # Keras counts the models of a process in their names
    told = hashlib.sha256(f"{structure} {epochs} {learning_rate} {at_once}".encode())
    for array in (*model.get_weights(), split.images, split.labels):
        told.update(np.ascontiguousarray(array))
    logits = model.layers[-1].activation is keras.activations.linear
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=logits)
    if at_once and told.digest() not in _LEARNED:
        rng = np.random.default_rng(0)
        rows = np.concatenate([rng.permutation(len(split)) for _ in range(epochs)])
        model.compile(keras.optimizers.Adam(learning_rate), loss, steps_per_execution=-(-len(rows) // 32))
        model.fit(split.images[rows], split.labels[rows], batch_size=32, shuffle=False, verbose=0)
        _LEARNED[told.digest()] = model.get_weights()
    model.compile(keras.optimizers.Adam(learning_rate), loss)
    if told.digest() in _LEARNED:
        model.set_weights(_LEARNED[told.digest()])
        return model
    model.fit(split.images, split.labels, batch_size=32, epochs=epochs, verbose=0)
    _LEARNED[told.digest()] = model.get_weights()
    return model
