"""The range of pixels, where nobody has said it."""

from __future__ import annotations

import numpy as np

from unlearning.data.image_files import ImageFiles

_LEAST_BRIGHT = 128  # whole images of bytes without a pixel that is half white are taken for another range


def pixel_range(images: np.ndarray) -> tuple[float, float]:
    """Returns what black and white are in images: 0..255, 0..1 or -1..1 where they fit, else the extremes.

    Args:
        images: Array of numbers, one image or many.

    Returns:
        The darkest and the brightest value; the second is larger.

    Example:
        >>> pixel_range(np.array([-0.7, 0.2])), pixel_range(np.array([-2.1, 2.6])), pixel_range(np.array([0, 16]))
        ((-1.0, 1.0), (-2.1, 2.6), (0.0, 16.0))
    """
    if images.dtype == np.uint8 or isinstance(images, ImageFiles) or not images.size:
        return 0.0, 255.0
    low, high = float(images.min()), float(images.max())
    if low >= -1 and high <= 1 and np.issubdtype(images.dtype, np.floating):
        return (0.0 if low >= 0 else -1.0), 1.0
    if low >= 0:
        return 0.0, 255.0 if _LEAST_BRIGHT <= high <= 255 else max(high, 1.0)
    return low, max(high, low + 1.0)
