"""What eyes are, and how they look at images: enlarged as Keras enlarges, a batch at a time, once."""

from __future__ import annotations

import abc
import logging
from typing import Any, Literal

import numpy as np

from unlearning.data.pixels import pixel_range
from unlearning.errors import InputError
from unlearning.eyes import cache
from unlearning.progress import progress_bar

logger = logging.getLogger(__name__)

Interpolation = Literal["bilinear", "nearest", "bicubic", "area", "lanczos3", "lanczos5"]
"""Keras's ways of resizing."""

_BATCH = 100
_SAMPLE = 256  # rows that decide about black and white, and about scaling


class Eyes(abc.ABC):
    """A network that turns images into features.

    Attributes:
        name: What the user calls it.
        identity: What tells it from all others, such as the hash of its file; the cache is keyed by it.
        side: The only height and width it takes, or None for any.
        channels: Of its input, 1 or 3.
    """

    name: str
    identity: str
    side: int | None = None
    channels: int = 3

    def prepare(self, sample: np.ndarray) -> str:
        """Looks at a few images first, float32 `(rows, side, side, channels)` from 0 to 255; returns what it chose."""
        del sample
        return ""

    @abc.abstractmethod
    def look(self, images: Any) -> np.ndarray:
        """Returns the features, float32 `(rows, d)`, of images as `prepare` has seen them."""


def see(eyes: Eyes, images: np.ndarray, *, size: int = 96, interpolation: Interpolation = "bicubic") -> np.ndarray:
    """Returns what eyes see in images.

    Args:
        eyes: See `open_eyes`.
        images: `(rows, height, width, channels)` with 1, 3 or 4 channels; those read from disk are read a batch at a
            time. What is black and white in them becomes 0 and 255; grey images are repeated, and a fourth channel is
            left out.
        size: Height and width in pixels that images are resized to, where the eyes take any.
        interpolation: How.

    Returns:
        float32 `(rows, d)`, in memory that is the caller's.

    Raises:
        InputError: If the images are no pictures, or what is seen in them is not finite.
    """
    if len(images.shape) != 4 or images.shape[3] not in (1, 3, 4):
        raise InputError("eyes", "images of 1, 3 or 4 channels to look at (or eyes=own)", f"rows of {images.shape[1:]}")
    side = eyes.side or size
    key = cache.key(images, eyes.identity, side, interpolation)
    found = cache.read(key, len(images))
    if found is not None:
        logger.info("What %s sees in these images is read from %s.", eyes.name, cache.folder())
        return found
    return cache.write(key, _look(eyes, images, side, interpolation))


def _look(eyes: Eyes, images: np.ndarray, side: int, interpolation: Interpolation) -> np.ndarray:
    from keras import ops

    rows = len(images)
    sample = np.asarray(images[np.linspace(0, rows - 1, min(rows, _SAMPLE)).astype(int)])
    low, high = pixel_range(images if isinstance(images, np.ndarray) else sample)

    def enlarged(batch: np.ndarray) -> np.ndarray:
        scaled = (np.asarray(batch, np.float32)[..., :3] - low) * np.float32(255 / (high - low))
        if scaled.shape[3] != eyes.channels:
            scaled = np.repeat(scaled, 3, axis=3) if eyes.channels == 3 else scaled.mean(axis=3, keepdims=True)
        if scaled.shape[1:3] == (side, side):
            return scaled
        return ops.convert_to_numpy(
            ops.image.resize(scaled, (side, side), interpolation=interpolation, data_format="channels_last")
        )

    chosen = eyes.prepare(enlarged(sample))
    logger.info("%s looks at %d images of %d pixels%s.", eyes.name, rows, side, chosen)
    parts = []
    for start in progress_bar(range(0, rows, _BATCH), description=f"looking with {eyes.name}", unit="batch"):
        parts.append(np.asarray(eyes.look(enlarged(images[start : start + _BATCH])), np.float32))
    features = np.concatenate(parts)
    if features.ndim != 2 or not np.isfinite(features).all():
        raise InputError("eyes", "one finite feature vector a row", f"{features.shape} from {eyes.name}")
    return features
