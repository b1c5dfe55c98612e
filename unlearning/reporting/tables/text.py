"""Aligned text, at most as wide as a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


WIDTH = 100
"""Columns of a terminal that a table may take."""


def shorten(name: str, width: int = 34) -> str:
    """Cuts a name in the middle where it is longer than `width`: methods differ in front, variants at the end."""
    return name if len(name) <= width else f"{name[: width - 15]}...{name[-12:]}"


def render(frame: pd.DataFrame, column: str) -> str:
    """Formats a frame; where it is wider than a terminal, the names in `column` are shortened by as much."""
    text = frame.to_string(index=False)
    excess = max(map(len, text.splitlines())) - WIDTH
    if excess <= 0:
        return text
    width = max(16, max(len(str(name)) for name in frame[column]) - excess)
    return frame.assign(**{column: [shorten(str(name), width) for name in frame[column]]}).to_string(index=False)


def spread(mean: float | None, std: float | None, scale: float = 1.0, sign: str = "") -> str:
    """Mean ± standard deviation as text, both times `scale`."""
    if mean is None:
        return "-"
    return f"{scale * mean:{sign}.1f}" if std is None else f"{scale * mean:{sign}.1f} ± {scale * std:.1f}"
