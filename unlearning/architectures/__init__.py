"""Keras builders of image classifiers, by name. Plain Keras: they build on any backend.

Every model starts with a `Rescaling` layer, so that it takes pixels as they are stored (0..255), and ends in a Dense
layer named `logits`.

Example:
    >>> from unlearning.architectures import build
    >>> build("cnn_small", input_shape=(32, 32, 3), num_classes=10).output_shape
    (None, 10)
"""

from __future__ import annotations

import keras

from unlearning.architectures.cnn import cnn, cnn_small
from unlearning.architectures.preact_resnet import preact_resnet18
from unlearning.architectures.resnet import resnet18
from unlearning.architectures.vgg import vgg11_bn
from unlearning.architectures.vit import vit
from unlearning.errors import invalid

ARCHITECTURES = {
    "cnn": cnn,
    "cnn_small": cnn_small,
    "preact_resnet18": preact_resnet18,
    "resnet18": resnet18,
    "vgg11_bn": vgg11_bn,
    "vit": vit,
}
"""Builders by name, each a function of `(input_shape, num_classes, pixel_max)`."""


def available() -> tuple[str, ...]:
    """Returns the known architecture names."""
    return tuple(ARCHITECTURES)


def check_known(name: str) -> None:
    """Raises `InputError` if there is no architecture of this name."""
    if name not in ARCHITECTURES:
        raise invalid("model", f"one of {', '.join(ARCHITECTURES)}", name)


def build(
    name: str,
    *,
    input_shape: tuple[int, int, int],
    num_classes: int,
    pixel_max: float = 255.0,
    seed: int | None = None,
) -> keras.Model:
    """Builds a classifier with fresh weights.

    Args:
        name: One of `available()`.
        input_shape: `(height, width, channels)` of an image.
        num_classes: Number of outputs.
        pixel_max: Largest pixel value; pixels are mapped from `0..pixel_max` to `-1..1`.
        seed: Seeds the initial weights; None leaves the global random state alone.

    Returns:
        An uncompiled model with float32 logits of shape `(rows, num_classes)`.

    Raises:
        InputError: If the name is unknown, or shape or class count make no sense.
    """
    check_known(name)
    if len(input_shape) != 3 or min(input_shape) < 1:
        raise invalid("input_shape", "(height, width, channels)", input_shape)
    if num_classes < 2:
        raise invalid("num_classes", "at least 2", num_classes)
    if not pixel_max > 0:
        raise invalid("pixel_max", "a positive number", pixel_max)
    if seed is not None:
        keras.utils.set_random_seed(seed)
    return ARCHITECTURES[name](input_shape, num_classes, pixel_max)
