"""What each method restores: a bar to the mean, a marker a seed; best on top."""

from __future__ import annotations

from typing import Any

import numpy as np

from unlearning.drawing import palette
from unlearning.drawing.palette import Look
from unlearning.experiments.results.compare import mean_std
from unlearning.reporting.figures.experiment import Experiment
from unlearning.reporting.figures.parts import LOWEST_RESTORED, add_caption, add_limits, clip, make_panels


def draw_shares(experiment: Experiment) -> Any:
    """Draws the restored share by method, a panel a budget."""
    means: dict[str, float] = {}
    for method in experiment.methods:
        averages = [mean_std(list(experiment.restored(b, method).values()))[0] for b in experiment.budgets]
        defined = [a for a in averages if a is not None]
        if defined:
            means[method] = float(np.mean(defined))
    if not means:
        return None
    methods = sorted(means, key=lambda method: (-means[method], method))
    budgets = experiment.restored_budgets()
    figure, panels = make_panels(len(budgets), width=2.6, height=0.24 * len(methods) + 1.0, legend=2.0)
    for axes, budget in zip(panels, budgets, strict=True):
        for place, method in enumerate(methods):
            _draw_one(axes, place, experiment.looks[method], list(experiment.restored(budget, method).values()))
        add_limits(axes, horizontal=False)
        axes.grid(axis="y", visible=False)
        left, right = axes.get_xlim()
        axes.set(title=experiment.title(budget), xlabel="restored share (%)", xlim=(min(left, -3), max(right, 105)))
    panels[0].set_yticks(range(len(methods)), [experiment.label(method, budgets) for method in methods])
    panels[0].set_ylim(len(methods) - 0.4, -0.6)
    text = "restored share of the lost test accuracy; bar: mean over seeds; markers: each seed"
    add_caption(figure, experiment, text)
    return figure


def _draw_one(axes: Any, place: int, look: Look, shares: list[float]) -> None:
    if not shares:
        axes.text(1, place, "no result", fontsize=6.5, color=palette.GREY, va="center")
        return
    colour, marker, mean = look.colour, look.matplotlib_marker, float(np.mean(shares))
    values, end = clip(shares), max(mean, LOWEST_RESTORED)
    axes.barh(place, end, height=0.62, color=colour, alpha=0.3, linewidth=0)
    axes.plot([end] * 2, [place - 0.31, place + 0.31], color=colour, linewidth=1.6)
    heights = place + (np.linspace(-0.14, 0.14, len(values)) if len(values) > 1 else np.zeros(1))
    axes.scatter(values, heights, s=14, marker=marker, zorder=3, **_faces(look))
    if mean < LOWEST_RESTORED:
        axes.text(LOWEST_RESTORED + 4, place, f"{mean:.0f} %", fontsize=6.5, va="center")


def _faces(look: Look) -> dict[str, Any]:
    return {"facecolors": look.face, "edgecolors": look.edge, "linewidths": 0.4 if look.filled else 0.8}
