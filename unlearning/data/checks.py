"""What is a classified image set, and what is not."""

from __future__ import annotations

import numpy as np

from unlearning.data.streamed import chunks
from unlearning.errors import InputError


def check_arrays(
    name: str, images: np.ndarray, labels: np.ndarray, *fine: np.ndarray, of_any_kind: bool = False
) -> None:
    """Refuses what is not a classified image set.

    Args:
        name: Which part, for messages.
        images: Pixels, shape `(rows, height, width)` or with channels behind.
        labels: Classes, shape `(rows,)`.
        fine: Finer classes behind the labels, where there are any.
        of_any_kind: Whether rows may be vectors, sequences, or of any other shape.

    Raises:
        InputError: If shapes, types or values do not fit.
    """
    for extra in fine:
        if extra.shape != labels.shape or not np.issubdtype(extra.dtype, np.integer) or (extra < 0).any():
            found = f"{extra.dtype} of shape {extra.shape}"
            raise InputError(f"{name} fine labels", "one integer of at least 0 for every label", found)
    if images.dtype == object or not (
        np.issubdtype(images.dtype, np.floating) or np.issubdtype(images.dtype, np.integer)
    ):
        raise InputError(f"{name} images", "numbers", f"dtype {images.dtype}")
    if of_any_kind and images.ndim < 2:
        raise InputError(f"{name} inputs", "shape (rows, ...), at least one number a row", images.shape)
    if not of_any_kind and images.ndim not in (3, 4):
        raise InputError(
            f"{name} images",
            "shape (rows, height, width) or (rows, height, width, channels); vectors and sequences are named inputs",
            images.shape,
        )
    if 0 in images.shape[1:]:
        raise InputError(f"{name} images", "images of at least one pixel", images.shape)
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise InputError(
            f"{name} labels", "a one-dimensional array of integers", f"{labels.dtype} of shape {labels.shape}"
        )
    if len(images) != len(labels) or not len(labels):
        raise InputError(f"{name} labels", f"one label per image ({len(images)} images, at least one)", len(labels))
    if labels.min() < 0:
        raise InputError(f"{name} labels", "classes 0..K-1", int(labels.min()))
    if not np.issubdtype(images.dtype, np.floating):
        return
    before = 0
    for part in chunks(images):
        finite = np.isfinite(part)
        if not finite.all():
            row = before + int(np.flatnonzero(~finite.reshape(len(part), -1).all(axis=1))[0])
            raise InputError(f"{name} images", "finite pixels", f"NaN or infinity in row {row}")
        before += len(part)
