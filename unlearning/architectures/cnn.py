"""Two convolutional networks with a dense head behind a Flatten: the published one, and one for two cores.

`cnn` is the network of the published CIFAR-10 experiments (Warnecke et al., NDSS 2023; 1,798,282 trainable parameters
on 32x32x3 images and ten classes), with two differences: pixels are rescaled inside the model, where the published code
feeds raw bytes, and the output is logits, since every loss here is computed on logits.
"""

from __future__ import annotations

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
    stack: list[layers.Layer] = [keras.Input(input_shape), rescaling(pixel_max)]
    for block, dropout in enumerate((0.1, 0.1, 0.2)):
        for conv in (2 * block + 1, 2 * block + 2):
            stack += [
                layers.Conv2D(
                    128, 3, padding="same", activation="relu", kernel_initializer="he_uniform", name=f"conv_{conv}"
                ),
                layers.BatchNormalization(name=f"batch_norm_{conv}"),
            ]
        # "same" pooling equals "valid" on even sizes and keeps tiny images from vanishing.
        stack += [
            layers.MaxPooling2D(padding="same", name=f"pool_{block + 1}"),
            layers.Dropout(dropout, name=f"dropout_{block + 1}"),
        ]
    stack += [
        layers.Flatten(name="flatten"),
        layers.Dense(512, activation="relu", kernel_initializer="he_uniform", name="dense_1"),
        layers.BatchNormalization(name="batch_norm_7"),
        logits(num_classes),
    ]
    return keras.Sequential(stack, name="cnn")


def cnn_small(input_shape: tuple[int, int, int], num_classes: int, pixel_max: float) -> keras.Model:
    """Four convolutions (32, 64, 128, 128 filters) and a 256-unit dense head; trains in minutes on two cores."""
    stack: list[layers.Layer] = [keras.Input(input_shape), rescaling(pixel_max)]
    for number, (filters, pool) in enumerate(((32, True), (64, True), (128, False), (128, True)), start=1):
        stack += [
            layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"conv_{number}"),
            layers.BatchNormalization(name=f"batch_norm_{number}"),
            layers.ReLU(name=f"relu_{number}"),
        ]
        if pool:
            stack.append(layers.MaxPooling2D(padding="same", name=f"pool_{number}"))
    stack += [
        layers.Flatten(name="flatten"),
        layers.Dense(256, activation="relu", name="dense_1"),
        logits(num_classes),
    ]
    return keras.Sequential(stack, name="cnn_small")
