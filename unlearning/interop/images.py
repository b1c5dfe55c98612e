"""Image files as TensorFlow decodes and resizes them, which is how `keras.utils.image_dataset_from_directory` does."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np


def decode_image(content: bytes, channels: int) -> np.ndarray:
    """Decodes a JPEG, PNG, GIF or BMP file as `tf.io.decode_image` does.

    JPEG by the fast transform, 16 bits a channel by their upper eight, no alpha where none is asked for, and the
    orientation in EXIF left alone.

    Args:
        content: The file.
        channels: 1, 3 or 4. The decoders know not every number for every format.

    Returns:
        uint8 array `(height, width, channels)`.

    Raises:
        ValueError: If TensorFlow refuses the file.
    """
    import tensorflow as tf

    try:
        with tf.device("CPU:0"):
            return tf.io.decode_image(content, channels=channels, expand_animations=False).numpy()
    except tf.errors.OpError as error:
        raise ValueError(str(error).splitlines()[0]) from error


def resize_image(
    image: np.ndarray, size: tuple[int, int], interpolation: str, *, crop: bool = False, pad: bool = False
) -> np.ndarray:
    """Resizes an image as `keras.utils.image_dataset_from_directory` does: without antialiasing.

    Args:
        image: uint8 array `(height, width, channels)`.
        size: The new height and width.
        interpolation: A method of `tf.image.resize`.
        crop: First cut the largest part of the new proportions out of its middle.
        pad: Keep the proportions, and put black around.

    Returns:
        float32 array `(*size, channels)`; some methods leave the range of the image.
    """
    import tensorflow as tf

    image = _cropped(image, size) if crop else image
    inner = _fitting(image.shape[:2], size) if pad else size
    with tf.device("CPU:0"):
        resized = _resizer(interpolation)(tf.constant(image), tf.constant(inner)).numpy().astype(np.float32)
    if not pad:
        return resized
    spare = [np.float32(whole) - part for whole, part in zip(size, _proportions(image.shape[:2], size), strict=True)]
    top, left = (max(0, int(both / np.float32(2))) for both in spare)
    padded = np.zeros((*size, image.shape[2]), np.float32)
    padded[top : top + inner[0], left : left + inner[1]] = resized[: size[0] - top, : size[1] - left]
    return padded


def _cropped(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The part that Keras's `smart_resize` keeps, in its arithmetic: a quotient in float32, cut off."""
    (height, width), (wanted_height, wanted_width) = image.shape[:2], size
    kept_height = max(1, min(height, int(np.float32(width * wanted_height) / np.float32(wanted_width))))
    kept_width = max(1, min(width, int(np.float32(height * wanted_width) / np.float32(wanted_height))))
    top, left = (height - kept_height) // 2, (width - kept_width) // 2
    return image[top : top + kept_height, left : left + kept_width]


def _proportions(shape: tuple[int, ...], size: tuple[int, int]) -> tuple[np.float32, np.float32]:
    """Height and width of an image that just fits, as `tf.image.resize_with_pad` computes them."""
    # It is not called itself: compiled into a graph it divides otherwise, and loses a column here and there.
    height, width = map(np.float32, shape)
    ratio = max(width / np.float32(size[1]), height / np.float32(size[0]))
    return height / ratio, width / ratio


def _fitting(shape: tuple[int, ...], size: tuple[int, int]) -> tuple[int, int]:
    """The same in whole pixels, at least one."""
    height, width = _proportions(shape, size)
    return max(1, int(height)), max(1, int(width))


@functools.cache
def _resizer(interpolation: str) -> Any:
    """Returns one graph for images of all sizes, as Keras's: outside a graph, methods that blur skip equal sizes."""
    import tensorflow as tf

    signature = [tf.TensorSpec((None, None, None), tf.uint8), tf.TensorSpec((2,), tf.int32)]
    return tf.function(
        lambda image, size: tf.image.resize(image, size, interpolation), input_signature=signature, autograph=False
    )
