"""Convolutional networks with a dense head behind a Flatten: the published one, and a small one of its kind.

`cnn` is the network of the published CIFAR-10 experiments (Warnecke et al., NDSS 2023; 1,798,282 trainable parameters
on 32x32x3 images and ten classes), with two differences: pixels are rescaled inside the model, where the published code
feeds raw bytes, and the output is logits, since every loss here is computed on logits.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import layers


def rescaling(pixel_max: float) -> layers.Rescaling:
    """Returns the layer that maps pixels `0..pixel_max` to `-1..1`."""
    return layers.Rescaling(2.0 / pixel_max, offset=-1.0, name="rescaling")


def logits(num_classes: int) -> layers.Dense:
    """Returns the output layer; its arithmetic stays in float32 under mixed precision."""
    return layers.Dense(num_classes, dtype="float32", name="logits")


def cnn(input_shape: tuple[int, int, int], num_classes: int, pixel_max: float) -> keras.Model:
    """Three blocks of two 128-filter convolutions, then a 512-unit dense head."""
    blocks = (((128, 128), 0.1), ((128, 128), 0.1), ((128, 128), 0.2))
    return _build("cnn", blocks, 512, input_shape, num_classes, pixel_max)


def cnn_small(input_shape: tuple[int, int, int], num_classes: int, pixel_max: float) -> keras.Model:
    """The same kind of network with 32, 64, 128 and 128 filters and a 256-unit head; for two cores."""
    blocks = (((32,), 0.1), ((64,), 0.1), ((128, 128), 0.2))
    return _build("cnn_small", blocks, 256, input_shape, num_classes, pixel_max)


def _build(
    name: str,
    blocks: Sequence[tuple[Sequence[int], float]],
    units: int,
    input_shape: tuple[int, int, int],
    num_classes: int,
    pixel_max: float,
) -> keras.Model:
    """Stacks blocks of (filters of its convolutions, dropout) and a dense head."""
    stack: list[layers.Layer] = [keras.Input(input_shape), rescaling(pixel_max)]
    conv = 0
    for number, (filters, dropout) in enumerate(blocks, start=1):
        for width in filters:
            conv += 1
            stack += [
                layers.Conv2D(
                    width, 3, padding="same", activation="relu", kernel_initializer="he_uniform", name=f"conv_{conv}"
                ),
                layers.BatchNormalization(name=f"batch_norm_{conv}"),
            ]
        # "same" pooling equals "valid" on even sizes and keeps tiny images from vanishing.
        stack += [
            layers.MaxPooling2D(padding="same", name=f"pool_{number}"),
            layers.Dropout(dropout, name=f"dropout_{number}"),
        ]
    stack += [
        layers.Flatten(name="flatten"),
        layers.Dense(units, activation="relu", kernel_initializer="he_uniform", name="dense_1"),
        layers.BatchNormalization(name=f"batch_norm_{conv + 1}"),
        logits(num_classes),
    ]
    return keras.Sequential(stack, name=name)
