"""Checks of the arguments that the objectives share."""

from __future__ import annotations

import math
from typing import Any

from unlearning.errors import InputError


def number(argument: str, value: Any, expected: str, *, above: float = -math.inf, below: float = math.inf) -> float:
    """Returns `value` as a float if it is a finite number strictly between two bounds.

    Args:
        argument: Name of the argument, for the message.
        value: What was given.
        expected: What a correct value looks like, for the message.
        above: Lower bound, itself not allowed.
        below: Upper bound, itself not allowed.

    Raises:
        InputError: If it is anything else.
    """
    try:
        result = float(value)
    except (TypeError, ValueError):
        raise InputError(argument, expected, value) from None
    if isinstance(value, bool) or not math.isfinite(result) or not above < result < below:
        raise InputError(argument, expected, value)
    return result
