"""Keras builders of image classifiers, by name. Plain Keras: they build on any backend.

Every model starts with a `Rescaling` layer, so that it takes pixels as they are stored (0..255), and ends in a Dense
layer named `logits`. To add one, write a function of `(input_shape, num_classes, pixel_max)` and add one line to
`ARCHITECTURES`; other packages call `register`, or name an entry point in the group `unlearning.architectures`. Keras
is imported when a model is built.

Example:
    >>> from unlearning.architectures import build
    >>> build("cnn_small", input_shape=(32, 32, 3), num_classes=10).output_shape
    (None, 10)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from unlearning.errors import InputError
from unlearning.registry import Entry, Registry, Role

if TYPE_CHECKING:
    import keras


def _own(name: str, target: str, summary: str, role: Role = Role.PUBLISHED, family: str = "") -> Entry:
    return Entry(name, f"unlearning.architectures.{target}", summary, role, family or name)


ARCHITECTURES = Registry(
    "architecture",
    "unlearning.architectures",
    (
        _own("cnn", "cnn:cnn", "six convolutions and a dense head; the published CIFAR-10 network"),
        _own("cnn_small", "cnn:cnn_small", "a smaller network of its kind, for two cores", Role.RECOMMENDED, "cnn"),
        _own("preact_resnet18", "preact_resnet:preact_resnet18", "pre-activation ResNet-18", family="resnet"),
        _own("resnet18", "resnet:resnet18", "ResNet-18 for small images", family="resnet"),
        _own("vgg11_bn", "vgg:vgg11_bn", "VGG-11 with batch normalisation"),
        _own("vit", "vit:vit", "a compact Vision Transformer"),
    ),
)
"""Builders by name, each a function of `(input_shape, num_classes, pixel_max)`."""

register = ARCHITECTURES.register
entry = ARCHITECTURES.entry
available = ARCHITECTURES.names
summaries = ARCHITECTURES.summaries


def check_known(name: str) -> None:
    """Raises `InputError` if there is no architecture of this name."""
    entry(name)


def build(
    name: str,
    *,
    input_shape: tuple[int, ...],
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
    builder = ARCHITECTURES.load(name)
    if len(input_shape) != 3 or min(input_shape) < 1:
        raise InputError("input_shape", "(height, width, channels)", input_shape)
    if num_classes < 2:
        raise InputError("num_classes", "at least 2", num_classes)
    if not pixel_max > 0:
        raise InputError("pixel_max", "a positive number", pixel_max)
    if seed is not None:
        import keras

        from unlearning.streams import stream_seed

        keras.utils.set_random_seed(stream_seed(seed, "initialisation"))
    return builder(input_shape, num_classes, pixel_max)
