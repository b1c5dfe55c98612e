"""ResNet-18 for small images: a 3x3 stem without pooling, four stages of two basic blocks, global average pooling.

He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, in the variant usual for CIFAR
(64-128-256-512 filters; about 11.2 M parameters).
"""

from __future__ import annotations

import keras
from keras import layers

from unlearning.architectures.cnn import logits, rescaling


def resnet18(input_shape: tuple[int, int, int], num_classes: int, pixel_max: float) -> keras.Model:
    """Builds the network."""
    inputs = keras.Input(input_shape)
    x = _convolution(rescaling(pixel_max)(inputs), 64, 3, 1, "stem")
    x = layers.ReLU(name="stem_relu")(x)
    for stage, filters in enumerate((64, 128, 256, 512), start=1):
        for block in (1, 2):
            stride = 2 if block == 1 and stage > 1 else 1
            x = _basic_block(x, filters, stride, f"stage_{stage}_block_{block}")
    x = layers.GlobalAveragePooling2D(name="global_pool")(x)
    return keras.Model(inputs, logits(num_classes)(x), name="resnet18")


def _basic_block(x, filters: int, stride: int, name: str):  # type: ignore[no-untyped-def]
    shortcut = x
    if stride != 1 or x.shape[-1] != filters:
        shortcut = _convolution(x, filters, 1, stride, f"{name}_shortcut")
    x = layers.ReLU(name=f"{name}_relu_1")(_convolution(x, filters, 3, stride, f"{name}_1"))
    x = _convolution(x, filters, 3, 1, f"{name}_2")
    return layers.ReLU(name=f"{name}_relu_2")(layers.Add(name=f"{name}_add")([x, shortcut]))


def _convolution(x, filters: int, size: int, stride: int, name: str):  # type: ignore[no-untyped-def]
    return layers.BatchNormalization(name=f"{name}_norm")(convolution(x, filters, size, stride, name))


def convolution(x, filters: int, size: int, stride: int, name: str):  # type: ignore[no-untyped-def]
    """Applies a convolution without bias, named `<name>_conv`."""
    return layers.Conv2D(
        filters,
        size,
        strides=stride,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
