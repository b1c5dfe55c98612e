"""What arguments must be."""

from __future__ import annotations

import math

import numpy as np

from unlearning.errors import InputError


def at_least_zero(name: str, value: float) -> None:
    """Raises `InputError` unless a number is finite and at least 0."""
    if not 0 <= value < math.inf:
        raise InputError(name, "a number of at least 0", value)


def check_labels(labels: np.ndarray) -> None:
    """Raises `InputError` unless all labels are -1 or 1."""
    found = np.unique(labels)
    if not np.isin(found, (-1, 1)).all():
        raise InputError("labels", "-1 and 1 only", found)


def finite_array(name: str, values: np.ndarray) -> np.ndarray:
    """Returns values as a float64 array of its own, and raises `InputError` unless they are finite numbers."""
    try:
        array = np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(name, "an array of numbers", type(values).__name__) from error
    if not np.isfinite(array).all():
        raise InputError(name, "finite numbers", "NaN or infinity")
    return array
