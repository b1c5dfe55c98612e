"""Parts that several figures have: panels, bands, reference lines, captions."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from unlearning.drawing import canvas, palette
from unlearning.experiments.results.compare import mean_std
from unlearning.reporting.figures.experiment import Experiment

LOWEST_RESTORED = -100.0
"""Per cent; a repair that lost more stands at the edge."""
CLEAN_DASH, POISONED_DASH = (0, (1, 1)), (0, (5, 2))


def make_panels(count: int, *, width: float, height: float, legend: float, rows_for: int = 0) -> tuple[Any, list[Any]]:
    """Makes a row of panels that share both axes.

    Args:
        count: How many.
        width: Inches of each.
        height: Inches, more where a legend needs it.
        legend: Inches beside them for a legend.
        rows_for: Entries of the legend.

    Returns:
        The figure and its axes.
    """
    height = max(height, 0.19 * rows_for + 0.9)
    size = width * count + legend, height
    figure, axes = canvas.new_figure(*size, columns=count, sharex=True, sharey=True, squeeze=False)
    return figure, list(axes.flat)


def draw_band(axes: Any, x: Sequence[float] | np.ndarray, values: list[list[float]], label: str, **style: Any) -> None:
    """Draws the mean over seeds as a line with a band around it, or a single point with a bar.

    Args:
        axes: Where.
        x: Places.
        values: The values of all seeds, a list a place.
        label: For the legend.
        **style: Of the line; `color` is needed.
    """
    summary = [(place, *mean_std(v)) for place, v in zip(x, values, strict=True) if v]
    places, means, stds = (np.array([row[i] or 0.0 for row in summary]) for i in range(3))
    axes.plot(places, means, label=label, **style)
    if len(places) > 1:
        axes.fill_between(places, means - stds, means + stds, color=style["color"], alpha=0.13, linewidth=0)
    elif stds.any():
        axes.errorbar(places, means, stds, color=style["color"], linewidth=1, capsize=2)


def clip(shares: Iterable[float]) -> np.ndarray:
    """Restored shares in per cent, those beyond the edge at the edge."""
    return np.maximum(np.array(list(shares)), LOWEST_RESTORED)


def add_limits(axes: Any, *, horizontal: bool) -> None:
    """Draws lines where a repair did nothing, and where it restored everything."""
    line = axes.axhline if horizontal else axes.axvline
    line(0, color=palette.POISONED, linewidth=1, linestyle=POISONED_DASH, zorder=1)
    line(100, color=palette.CLEAN, linewidth=1, linestyle=CLEAN_DASH, zorder=1)


def add_caption(figure: Any, experiment: Experiment, text: str) -> None:
    """Writes below a figure of which experiment and seeds it is, and what is drawn.

    Args:
        figure: The figure; `caption_of` gives the text back, for a file of its own.
        experiment: What it is of.
        text: What is drawn.
    """
    seeds = experiment.seeds
    shown = ", ".join(map(str, seeds)) if len(seeds) <= 8 else f"{seeds[0]} … {seeds[-1]}"
    lines = f"{experiment.name}. {text[0].upper()}{text[1:]}. Seed{'s' * (len(seeds) > 1)}: {shown} (n = {len(seeds)})."
    wrapped = textwrap.fill(lines, int(18 * figure.get_figwidth()))
    figure.supxlabel(wrapped, fontsize=6.5, color="#505050", x=0.01, ha="left")


def caption_of(figure: Any) -> str:
    """Returns the caption of a figure on one line; empty without one."""
    return " ".join(figure.get_supxlabel().split())


def remove_caption(figure: Any) -> None:
    """Takes the caption off a figure."""
    figure.supxlabel("")


def as_tex(text: str) -> str:
    r"""Returns a text as LaTeX takes it in a caption.

    Example:
        >>> print(as_tex("50 % of a_b ± 1"))
        50 \% of a\_b $\pm$ 1
    """
    letters = {"\\": r"\textbackslash{}", "~": r"\~{}", "^": r"\^{}", "{": r"\{", "}": r"\}"}
    escaped = "".join(letters.get(c, c) for c in text)
    for letter in "&%$#_":
        escaped = escaped.replace(letter, f"\\{letter}")
    return escaped.replace("±", r"$\pm$").replace("…", r"\ldots{}").replace("–", "--")
