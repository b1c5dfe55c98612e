"""Pre-activation ResNet-18 for small images: the network that most work on CIFAR with wrong labels reports.

He, Zhang, Ren and Sun, "Identity Mappings in Deep Residual Networks", ECCV 2016: normalisation and ReLU come before
each convolution. As usual for CIFAR it has a 3x3 stem without pooling and 64-128-256-512 filters (about 11.2 M
parameters); as usual in that line of work nothing follows the last addition, so that pooled features have either sign.
"""

from __future__ import annotations

import keras
from keras import layers

from unlearning.architectures.cnn import logits, rescaling
from unlearning.architectures.resnet import convolution


def preact_resnet18(input_shape: tuple[int, int, int], num_classes: int, pixel_max: float) -> keras.Model:
    """Builds the network."""
    inputs = keras.Input(input_shape)
    x = convolution(rescaling(pixel_max)(inputs), 64, 3, 1, "stem")
    x = _activated(x, "stem")
    for stage, filters in enumerate((64, 128, 256, 512), start=1):
        for block in (1, 2):
            stride = 2 if block == 1 and stage > 1 else 1
            x = _block(x, filters, stride, f"stage_{stage}_block_{block}")
    x = layers.GlobalAveragePooling2D(name="global_pool")(x)
    return keras.Model(inputs, logits(num_classes)(x), name="preact_resnet18")


def _block(x, filters: int, stride: int, name: str):  # type: ignore[no-untyped-def]
    y = _activated(x, f"{name}_1")
    # A shortcut that changes the shape starts behind the activation; all others are the identity.
    changes = stride != 1 or x.shape[-1] != filters
    shortcut = convolution(y, filters, 1, stride, f"{name}_shortcut") if changes else x
    y = convolution(y, filters, 3, stride, f"{name}_1")
    y = convolution(_activated(y, f"{name}_2"), filters, 3, 1, f"{name}_2")
    return layers.Add(name=f"{name}_add")([y, shortcut])


def _activated(x, name: str):  # type: ignore[no-untyped-def]
    x = layers.BatchNormalization(name=f"{name}_norm")(x)
    return layers.ReLU(name=f"{name}_relu")(x)
