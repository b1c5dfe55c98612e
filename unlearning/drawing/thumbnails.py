"""Arrays to small pictures."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

_EXACT = 64
"""Pictures of at most so many pixels a side are stored as they are: each of their pixels is seen."""


def to_picture(image: np.ndarray, black: float, white: float, side: int) -> Image:
    """Returns an image as a picture of at most so many pixels a side.

    Args:
        image: Array of shape `(height, width[, channels])`; grey, or red, green and blue first.
        black: The value of black.
        white: The value of white.
        side: Pixels; larger images are made smaller, others stay as they are.

    Returns:
        The picture, grey or in colours. What is no number is black.
    """
    from PIL import Image

    image = np.asarray(image, dtype=np.float64)
    image = image if image.ndim == 3 else image[..., None]
    shades = np.nan_to_num((image - black) * (255 / (white - black)), posinf=255.0)
    pixels = np.clip(shades, 0, 255).round().astype(np.uint8)
    picture = Image.fromarray(pixels[..., :3] if pixels.shape[-1] >= 3 else pixels[..., 0])
    if max(picture.size) > side:
        picture.thumbnail((side, side))
    return picture


def to_png(picture: Image) -> bytes:
    """Returns a picture as a PNG file."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def to_webp(picture: Image) -> bytes:
    """Returns a picture as a WebP file: small ones with every pixel as it is, others with what the eye keeps."""
    buffer = io.BytesIO()
    exact = max(picture.size) <= _EXACT
    picture.save(buffer, "WEBP", lossless=exact, quality=80, method=0 if exact else 2)  # quick; the size hardly differs
    return buffer.getvalue()
