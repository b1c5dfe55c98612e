"""Colours of the charts in both themes, and their static form for readers without JavaScript."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from unlearning.drawing import canvas
from unlearning.drawing.palette import look

DARK_SURFACE = "#14171c"
_READABLE = 4.5  # least contrast of small text, WCAG 2.2, success criterion 1.4.3
_SIZE = (6.4, 3.8)
_MOST_NAMES = 60  # in a legend


def contrast(one: str, other: str) -> float:
    """Returns the contrast ratio of two colours, as WCAG 2.2 defines it.

    Args:
        one: `#RRGGBB`.
        other: `#RRGGBB`.

    Returns:
        A number from 1 (the same) to 21 (black and white).

    Example:
        >>> round(contrast("#000000", "#FFFFFF"), 3)
        21.0
    """
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def lighten(colour: str, background: str = DARK_SURFACE, least: float = _READABLE) -> str:
    """Returns a colour mixed with as much white as it takes to be seen on a dark background.

    Args:
        colour: `#RRGGBB`.
        background: `#RRGGBB`, dark.
        least: Contrast ratio to reach.

    Returns:
        `#RRGGBB`.
    """
    for step in range(101):
        mixed = "#" + "".join(f"{round(c + (255 - c) * step / 100):02X}" for c in _channels(colour))
        if contrast(mixed, background) >= least:
            return mixed
    return "#FFFFFF"


def _channels(colour: str) -> tuple[int, int, int]:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return red, green, blue


def _luminance(colour: str) -> float:
    parts = [c / 255 for c in _channels(colour)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@canvas.styled()
def draw_static(rows: Sequence[Mapping[str, Any]]) -> tuple[bytes, bytes]:
    """Draws what the two interactive charts of an experiment show.

    Args:
        rows: As `headline` returns them.

    Returns:
        Two SVG files: accuracy over budget, and restored share over seconds.
    """
    (accuracy, left), (share, right) = canvas.new_figure(*_SIZE), canvas.new_figure(*_SIZE)
    left.set(xlabel="budget (corrupted rows)", ylabel="test accuracy (%)")
    right.set(xlabel="seconds", ylabel="restored share (%)", xscale="log")
    canvas.label_powers(right.xaxis)
    names = sorted({row["name"] for row in rows})
    for name in names:
        own = [row for row in rows if row["name"] == name]
        style = look(name)
        drawn = {"color": style.colour, "marker": style.matplotlib_marker, "label": name, "markeredgecolor": "#444444"}
        left.errorbar(
            [row["budget"] for row in own],
            [100 * row["after"][0] for row in own],
            yerr=[100 * (row["after"][1] or 0) for row in own],
            linestyle=style.matplotlib_dash,
            **drawn,
        )
        scored = [row for row in own if None not in (row["restored"][0], row["seconds"][0])]
        if scored:
            seconds = [max(row["seconds"][0], 1e-3) for row in scored]
            right.plot(seconds, [100 * row["restored"][0] for row in scored], linestyle="", **drawn)
    for axes in (left, right):
        axes.grid(alpha=0.3)
        if not axes.get_legend_handles_labels()[1]:  # nothing was lost, so that nothing could be restored
            continue
        if len(names) > _MOST_NAMES:
            continue
        axes.legend(fontsize=6, ncols=2 if len(names) > 8 else 1, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return canvas.as_svg(accuracy), canvas.as_svg(share)
