"""The one renderer of what a terminal shows: aligned tables and prose, no wider than it is.

Columns that say the same in every row stand in a line above a table; where there is still no room, names are shortened
in the middle and columns left out, the least telling ones first.
"""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


WIDTH = 100
"""Columns of a terminal that a table may take, where nobody knows how wide it is."""
NARROWEST = 60
"""Nothing is made narrower."""
BEST = "*"
"""Marks the best rows."""
TIE = "="
"""Marks rows of which none is the best."""
_SHORT = 24  # a name is cut down to this before a column is left out
_SHORTEST = 16


def shorten(name: str, width: int = 34) -> str:
    """Cuts a name in the middle where it is longer than `width`: methods differ in front, variants at the end."""
    return name if len(name) <= width else f"{name[: width - 15]}...{name[-12:]}"


def terminal_width() -> int:
    """Columns of the terminal that is written to, at least `NARROWEST`; `WIDTH` where it is none."""
    return max(NARROWEST, shutil.get_terminal_size((WIDTH, 24)).columns)


def prose(text: str, width: int = WIDTH, first: str = "", following: str | None = None) -> list[str]:
    """Wraps text at its words.

    Args:
        text: Text on one line or several.
        width: Columns of the terminal.
        first: What the first line begins with.
        following: What the others begin with; as many spaces as `first` has characters where None.

    Returns:
        The lines; a word that is longer than a line is not broken, so that it can be copied.
    """
    return textwrap.wrap(
        " ".join(text.split()),
        min(width, WIDTH),  # longer lines are hard to read
        initial_indent=first,
        subsequent_indent=" " * len(first) if following is None else following,
        break_long_words=False,
        break_on_hyphens=False,
    )


def set_apart(frame: pd.DataFrame, units: Mapping[str, str]) -> tuple[pd.DataFrame, str]:
    """Takes out of a table what is the same in all of its rows.

    Args:
        frame: A table of text.
        units: Columns that may be taken out, and the units of their numbers.

    Returns:
        The rest, and the line that stands above it; empty where nothing was taken out, as of one row.
    """
    if len(frame) < 2:
        return frame, ""
    same = [name for name in units if name in frame and frame[name].nunique() == 1 and frame[name].iloc[0] != "-"]
    parts = [f"{name} {frame[name].iloc[0]}{units[name] and ' ' + units[name]}" for name in same]
    return frame.drop(columns=same), ", ".join(parts)


def render(frame: pd.DataFrame, column: str, width: int = WIDTH, spare: Sequence[str] = ()) -> str:
    """Formats a frame no wider than a terminal, as far as that goes.

    Args:
        frame: The table.
        column: The column whose names may be shortened.
        width: Columns of the terminal.
        spare: Columns that may be left out, the first ones first.

    Returns:
        The text.
    """
    frame = fit(frame, column, width, spare)
    text = frame.to_string(index=False)
    excess = max(map(len, text.splitlines())) - width
    if excess <= 0:
        return text
    shortest = max(_SHORTEST, max(len(str(name)) for name in frame[column]) - excess)
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
