"""VGG-11 for small images: eight 3x3 convolutions with batch normalisation and a dense head of two 512-unit layers.

Configuration A of Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR
2015, with batch normalisation and a narrower head, as is usual for CIFAR (9.8 M parameters on 32x32x3 images).
"""

from __future__ import annotations

import keras
from keras import layers

from unlearning.architectures.cnn import logits, rescaling

_STAGES = ((64,), (128,), (256, 256), (512, 512), (512, 512))
_UNITS = (512, 512)


def vgg11_bn(input_shape: tuple[int, int, int], num_classes: int, pixel_max: float) -> keras.Model:
    """Builds the network."""
    stack: list[layers.Layer] = [keras.Input(input_shape), rescaling(pixel_max)]
    conv = 0
    for number, stage in enumerate(_STAGES, start=1):
        for filters in stage:
            conv += 1
            stack += [
                layers.Conv2D(filters, 3, padding="same", kernel_initializer="he_normal", name=f"conv_{conv}"),
                layers.BatchNormalization(name=f"batch_norm_{conv}"),
                layers.ReLU(name=f"relu_{conv}"),
            ]
        # "same" pooling equals "valid" on even sizes and keeps tiny images from vanishing.
        stack.append(layers.MaxPooling2D(padding="same", name=f"pool_{number}"))
    stack.append(layers.Flatten(name="flatten"))
    for number, units in enumerate(_UNITS, start=1):
        stack += [
            layers.Dense(units, activation="relu", kernel_initializer="he_normal", name=f"dense_{number}"),
            layers.Dropout(0.5, name=f"dropout_{number}"),
        ]
    return keras.Sequential([*stack, logits(num_classes)], name="vgg11_bn")
