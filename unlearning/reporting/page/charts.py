"""Colours of the charts in both themes, and their static form for readers without JavaScript."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from unlearning.drawing import canvas, palette
from unlearning.drawing.palette import looks

DARK_SURFACE = "#14171c"
_READABLE = 4.5  # least contrast of small text, WCAG 2.2, success criterion 1.4.3
_WIDTH = 7.5
_MOST_NAMES, _MOST_PANELS = 60, 12


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
def draw_static(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Draws the test accuracy of every method, a panel a budget.

    Args:
        rows: As `headline` returns them.

    Returns:
        An SVG file.
    """
    budgets = sorted({row["budget"] for row in rows})
    panels = [[row for row in rows if row["budget"] == budget][:_MOST_NAMES] for budget in budgets[:_MOST_PANELS]]
    heights = [len(own) + 2.5 for own in panels]
    ratios = {"height_ratios": heights}
    figure, grid = canvas.new_figure(_WIDTH, 0.24 * sum(heights), rows=len(panels), gridspec_kw=ratios, squeeze=False)
    styles = looks(row["name"] for row in rows)
    for axes, own in zip(grid[:, 0], panels, strict=True):
        for place, row in enumerate(own):
            style, (mean, std) = styles[row["name"]], row["after"]
            spread = std if std is not None else row["explained"] or 0.0
            axes.errorbar(
                [100 * mean],
                [place],
                xerr=[100 * spread],
                color=style.colour,
                marker=style.matplotlib_marker,
                markerfacecolor=style.face,
                markeredgecolor="#444444" if style.filled else style.colour,
            )
        for key, dash in (("before", ":"), ("clean", ":")):
            if own[0][key][0] is not None:
                axes.axvline(100 * own[0][key][0], color=palette.GREY, linestyle=dash, linewidth=1)
        axes.set_yticks(range(len(own)), [canvas.name_text(row["name"]) for row in own])
        axes.set_ylim(len(own) - 0.4, -0.6)
        axes.set_title(f"budget {own[0]['budget']:,}", fontsize=8)
        axes.grid(axis="x", alpha=0.3)
        axes.tick_params(labelsize=7)
    grid[-1, 0].set_xlabel("test accuracy (%); dotted: poisoned and clean model", fontsize=8)
    return canvas.as_svg(figure)
