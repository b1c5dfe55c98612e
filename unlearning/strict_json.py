"""JSON from strangers: what the standard library lets through and a record or an option must not hold.

Python's reader accepts NaN, repeated keys, integers of thousands of digits, lone surrogates, and nesting that other
code cannot walk. All of these are mistakes or attacks in the files and options read here.
"""

from __future__ import annotations

import json
import math
from typing import Any

LARGEST_DEPTH = 64
LARGEST_COUNT = 500_000
_INTEGERS = 2**63


def parse_json(text: str) -> Any:
    """Reads JSON whose content any program can hold.

    Passes on a `json.JSONDecodeError` if the text is not JSON.

    Args:
        text: The text.

    Returns:
        The value: finite floats, 64-bit integers, objects without repeated keys, at most `LARGEST_DEPTH` levels and
        `LARGEST_COUNT` values, no control characters besides tabs and line ends.

    Raises:
        ValueError: If it is JSON of a kind that is not taken; the message says which.

    Example:
        >>> parse_json('{"steps": [1, 2.5]}')
        {'steps': [1, 2.5]}
    """
    # Each value but the first has a comma or a bracket in front of it: too many are refused before they take memory.
    if sum(map(text.count, ",[{")) > 2 * LARGEST_COUNT:
        raise ValueError(f"it holds more than {LARGEST_COUNT} values")
    try:
        value = json.loads(
            text,
            parse_int=_integer,
            parse_float=_float,
            parse_constant=_constant,
            object_pairs_hook=_object,
        )
    except RecursionError:
        raise ValueError(f"it is nested deeper than {LARGEST_DEPTH} levels") from None
    _check(value)
    return value


def _integer(text: str) -> int:
    if len(text) > 20 or not -_INTEGERS <= int(text) < _INTEGERS:
        raise ValueError("it holds an integer of more than 64 bits")
    return int(text)


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("it holds a number too large for a float")
    return value


def _constant(text: str) -> float:
    raise ValueError(f"{text} is not a number in JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"the key {key[:50]!r} occurs twice")
            seen.add(key)
    return found


def _check(value: Any) -> None:
    """Checks depth, number and characters of all values, without recursion."""
    level, count = [value], 0
    for _ in range(LARGEST_DEPTH):
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                for key in item:
                    _check_text(key)
                below.extend(item.values())
            elif isinstance(item, list):
                below.extend(item)
            elif isinstance(item, str):
                _check_text(item)
        count += len(level)
        if count > LARGEST_COUNT:
            raise ValueError(f"it holds more than {LARGEST_COUNT} values")
        if not below:
            return
        level = below
    raise ValueError(f"it is nested deeper than {LARGEST_DEPTH} levels")


def _check_text(text: str) -> None:
    if text.isascii() and text.isprintable():
        return
    for character in text:
        # Escape sequences in a name would reach the terminal; lone surrogates cannot be written to any file.
        if (character < " " and character not in "\t\n\r") or "\x7f" <= character < "\xa0":
            raise ValueError(f"it holds the control character {character!r}")
        if "\ud800" <= character <= "\udfff":
            raise ValueError(f"it holds the lone surrogate {character!r}")
