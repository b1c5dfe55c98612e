"""Aligned text, at most as wide as a terminal."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


WIDTH = 100
"""Columns of a terminal that a table may take, where nobody knows how wide it is."""
NARROWEST = 80
_SHORT = 24  # a name is cut down to this before a column is left out


def shorten(name: str, width: int = 34) -> str:
    """Cuts a name in the middle where it is longer than `width`: methods differ in front, variants at the end."""
    return name if len(name) <= width else f"{name[: width - 15]}...{name[-12:]}"


def terminal_width() -> int:
    """Columns of the terminal that is written to, at least `NARROWEST`; `WIDTH` where it is none."""
    return max(NARROWEST, shutil.get_terminal_size((WIDTH, 24)).columns)


def render(frame: pd.DataFrame, column: str, width: int = WIDTH) -> str:
    """Formats a frame; where it is wider than a terminal, the names in `column` are shortened by as much."""
    text = frame.to_string(index=False)
    excess = max(map(len, text.splitlines())) - width
    if excess <= 0:
        return text
    shortest = max(16, max(len(str(name)) for name in frame[column]) - excess)
    return frame.assign(**{column: [shorten(str(name), shortest) for name in frame[column]]}).to_string(index=False)


def fit(frame: pd.DataFrame, column: str, width: int, spare: Sequence[str]) -> pd.DataFrame:
    """Leaves out what a terminal has no room for.

    Args:
        frame: A table of text.
        column: The column whose names may be shortened.
        width: Columns of the terminal.
        spare: Columns that may be left out, the first ones first.

    Returns:
        The frame with as many columns as there is room for when long names are shortened.
    """
    short = frame.assign(**{column: [shorten(str(name), _SHORT) for name in frame[column]]})
    kept = frame
    for name in spare:
        if max(map(len, short[kept.columns].to_string(index=False).splitlines())) <= width:
            break
        kept = kept.drop(columns=name, errors="ignore")
    return kept


def spread(mean: float | None, std: float | None, scale: float = 1.0, sign: str = "") -> str:
    """Mean ± standard deviation as text, both times `scale`."""
    if mean is None:
        return "-"
    shown = number(scale * mean, sign)
    return shown if std is None else f"{shown} ± {number(scale * std)}"


def number(value: float, sign: str = "") -> str:
    """A number with one digit after the point, or as a power of ten where that would be a line of digits."""
    return f"{value:{sign}.1f}" if abs(value) < 1e12 else f"{value:{sign}.2e}"
