"""Image files as arrays of eight bits a channel."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from unlearning.data.settings import ImageReading
from unlearning.errors import InputError

if TYPE_CHECKING:
    from PIL import Image

# Everything else Pillow reads is left out: some of its readers start other programs.
IMAGE_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
"""What may be opened as an image."""

_LARGEST_FILE = 2**30
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_CHANNELS = {"grayscale": 1, "rgb": 3, "rgba": 4}
_DECODED_BY_TENSORFLOW = {"JPEG": (1, 3), "MPO": (1, 3), "PNG": (1, 3, 4), "GIF": (3,), "BMP": (3, 4)}
_BLURRING = ("gaussian", "mitchellcubic")  # they change an image that has the right size already
_BITS_PER_SAMPLE, _PHOTOMETRIC = 258, 262  # tags of TIFF


@contextlib.contextmanager
def opened_image(path: Path) -> Iterator[Image.Image]:
    """Opens an image file whose claimed size is bearable.

    Args:
        path: The file.

    Yields:
        The image, not decoded yet.

    Raises:
        InputError: If it is none of `IMAGE_FORMATS`, too large, or damaged; also for what is found while it is decoded.
    """
    from PIL import Image

    try:
        with Image.open(path, formats=IMAGE_FORMATS) as image:
            limit = Image.MAX_IMAGE_PIXELS
            if limit is not None and image.width * image.height > limit:
                raise InputError(f"Cannot read the image {path}: it has more than {limit} pixels")
            yield image
    except InputError:
        raise
    except Exception as error:  # Pillow's readers fail in many ways on damaged files
        raise InputError(f"Cannot read the image {path}: {error}") from error


def eight_bit(image: Image.Image, mode: str) -> Image.Image:
    """Returns an image in a mode of eight bits a channel; shades of more bits keep their upper eight.

    Pillow itself clips them, so that all but the darkest shades of 16 bits become white.

    Args:
        image: An open image.
        mode: `L`, `RGB` or `RGBA`.

    Returns:
        The image.

    Raises:
        ValueError: If its shades have no known range.
    """
    from PIL import Image

    if image.mode.startswith("I;16") or (image.mode, image.format) == ("I", "PNG"):  # Pillow below 11.3
        bits, inverted = 16, False
        if image.format == "TIFF":
            tags = image.tag_v2  # type: ignore[attr-defined]
            bits, inverted = tags.get(_BITS_PER_SAMPLE, (16,))[0], tags.get(_PHOTOMETRIC) == 0
        shades = (np.asarray(image).astype(np.int64) >> (bits - 8)).astype(np.uint8)
        image = Image.fromarray(255 - shades if inverted else shades)
    elif image.mode in ("I", "F"):
        kind = "floating point" if image.mode == "F" else "whole numbers"
        raise ValueError(
            f"it has {kind} of 32 bits (mode {image.mode}), whose range is not known. "
            "Save it with 8 or 16 bits a channel, or give the arrays in a .npz file."
        )
    return image.convert(mode)


def count_channels(reading: ImageReading) -> int:
    """Returns the number of channels that images get."""
    return _CHANNELS[reading.color_mode or "rgb"]


def read_image(path: Path, reading: ImageReading, size: tuple[int, int]) -> np.ndarray:
    """Reads an image file as Keras's loader for folders does.

    Passes on an `InputError` if it cannot be read.

    Args:
        path: The file.
        reading: How it is read.
        size: Height and width that it gets.

    Returns:
        uint8 array `(*size, channels)`: what Keras returns, rounded, within 0..255.
    """
    channels = count_channels(reading)
    with opened_image(path) as image:
        if reading.interpolation == "pillow":
            pixels = np.asarray(eight_bit(image, _MODES[channels]).resize(size[::-1]))
            return pixels.reshape(*size, channels)
        pixels = _decode(path, image, channels)
        if pixels.shape[:2] == size and reading.interpolation not in _BLURRING:
            return pixels
        from unlearning.interop.images import resize_image

        crop, pad = reading.crop_to_aspect_ratio, reading.pad_to_aspect_ratio
        resized = resize_image(pixels, size, reading.interpolation, crop=crop, pad=pad)
        return np.clip(np.rint(resized), 0, 255).astype(np.uint8)


def _decode(path: Path, image: Image.Image, channels: int) -> np.ndarray:
    """Decodes by TensorFlow what Keras would read, and the rest by Pillow."""
    if channels in _DECODED_BY_TENSORFLOW.get(image.format or "", ()) and (image.mode, channels) != ("CMYK", 1):
        from unlearning.interop.images import decode_image

        size = os.stat(path).st_size
        if size > _LARGEST_FILE:
            raise ValueError(f"it has {size} bytes, more than {_LARGEST_FILE}")
        content = path.read_bytes()
        with contextlib.suppress(ValueError):  # such as BMP of one bit; of a damaged file, Pillow says what is wrong
            return decode_image(_first_frame(content) if image.format == "GIF" else content, channels)
    return np.asarray(eight_bit(image, _MODES[channels])).reshape(image.height, image.width, channels)


def _first_frame(content: bytes) -> bytes:
    """Returns a GIF that ends after its first frame, since TensorFlow's decoder unpacks all frames at once.

    A frame behind it may claim any size, and there may be thousands.

    Args:
        content: The file.

    Returns:
        The shorter file.

    Raises:
        ValueError: If it ends before.
    """
    stream = io.BytesIO(content)

    def take(count: int) -> bytes:
        part = stream.read(count)
        if len(part) < count:
            raise ValueError("the file is truncated")
        return part

    def skip_colours(flags: int) -> None:
        if flags & 0x80:
            take(3 << ((flags & 7) + 1))

    skip_colours(take(13)[10])
    while True:
        kind = take(1)
        if kind == b",":
            skip_colours(take(9)[8])
        take(1)  # what kind of extension, or the size of codes
        while length := take(1)[0]:
            take(length)
        if kind == b",":
            return content[: stream.tell()] + b";"
        if kind != b"!":
            raise ValueError("it holds no frame")
