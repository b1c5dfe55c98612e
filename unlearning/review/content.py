"""What is seen of rows on the page: small pictures of images, the text or the numbers of others."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import numpy as np

from unlearning.data.pixels import pixel_range
from unlearning.drawing.thumbnails import to_picture, to_png, to_webp
from unlearning.review.sheet import Sheet

_BATCH = 256
_SIDES = ((600, 160), (1500, 128), (4000, 96), (10**9, 64))
"""Up to so many pictures, each has at most so many pixels a side."""
_MOST_BYTES = 17_000_000
"""No more bytes of pictures go into a page, which is to stay below 20 MB."""
_LONGEST_TEXT, _MOST_NUMBERS = 600, 48


def is_picture(images: Any) -> bool:
    """Whether rows can be shown as pictures: `(rows, height, width, channels)`, or square ones without channels."""
    shape = tuple(images.shape)
    return (len(shape) == 4 and shape[3] >= 1) or (len(shape) == 3 and shape[1] == shape[2])


def draw_rows(sheet: Sheet, most: int) -> tuple[list[str], str]:
    """Draws the first rows of a sheet as pictures.

    Args:
        sheet: What is shown.
        most: How many pictures at most; fewer where they would make the page too large.

    Returns:
        The pictures in base64, and their type for the browser; none where rows are no images.
    """
    images: Any = sheet.source.split.images
    rows = sheet.rows[:most]
    if not is_picture(images) or not len(rows):
        return [], ""
    side = next(side for count, side in _SIDES if len(rows) <= count)
    encode, kind = _encoder()
    drawn: list[str] = []
    size, scale = 0, None
    for start in range(0, len(rows), _BATCH):
        batch = np.asarray(images[rows[start : start + _BATCH]])
        scale = scale or pixel_range(batch if images.dtype != np.uint8 else batch.astype(np.uint8))
        for image in batch:
            text = base64.b64encode(encode(to_picture(image, *scale, side))).decode()
            size += len(text)
            if size > _MOST_BYTES:
                return drawn, kind
            drawn.append(text)
    return drawn, kind


def _encoder() -> tuple[Callable[[Any], bytes], str]:
    """How pictures are stored: as WebP, where Pillow was built with it."""
    from PIL import features

    return (to_webp, "image/webp") if features.check("webp") else (to_png, "image/png")


def describe_rows(sheet: Sheet) -> list[str]:
    """Returns a text for each row of a sheet: the one that is given, or its numbers; none of pictures without one."""
    texts, images = sheet.source.texts, sheet.source.split.images
    if texts is not None:
        return [_shortened(str(texts[row])) for row in sheet.rows.tolist()]
    if is_picture(images):
        return []
    return [_numbers(np.asarray(images[row])) for row in sheet.rows.tolist()]


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}…"


def _numbers(row: np.ndarray) -> str:
    flat = row.reshape(-1)
    text = " ".join(f"{value:.4g}" for value in flat[:_MOST_NUMBERS].tolist())
    return f"{text} … ({' × '.join(map(str, row.shape))})" if len(flat) > _MOST_NUMBERS else text
