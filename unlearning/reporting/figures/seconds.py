"""What a repair restores over what it takes: large markers are means, small ones the seeds."""

from __future__ import annotations

from typing import Any

import numpy as np

from unlearning.reporting.figures.experiment import Experiment
from unlearning.reporting.figures.parts import add_caption, add_limits, clip, make_panels


def draw_seconds(experiment: Experiment) -> Any:
    """Draws the restored share over seconds, a panel a budget."""
    budgets, methods = experiment.restored_budgets(), experiment.methods
    if not budgets:
        return None
    figure, panels = make_panels(len(budgets), width=3.1, height=3.3, legend=2.1, rows_for=len(methods))
    shown: dict[str, Any] = {}
    for axes, budget in zip(panels, budgets, strict=True):
        for method in methods:
            shares = experiment.restored(budget, method)
            if not shares:
                continue
            results = experiment.of(budget, method)
            seconds = np.maximum([results[seed].unlearning_duration_s for seed in shares], 1e-3)
            look = experiment.looks[method]
            style: dict[str, Any] = {"marker": look.matplotlib_marker}
            heights = clip(shares.values())
            if len(shares) > 1:
                axes.scatter(seconds, heights, s=12, alpha=0.45, lw=0, color=look.colour, **style)
            place = float(np.exp(np.mean(np.log(seconds)))), float(np.mean(heights))
            style |= {"facecolors": look.face, "edgecolors": look.edge, "linewidths": 0.7 if look.filled else 1.2}
            shown[method] = axes.scatter(*([v] for v in place), s=52, zorder=3, **style)
        add_limits(axes, horizontal=True)
        axes.set_xscale("log")
        _label_plainly(axes.xaxis)
        axes.set(title=experiment.title(budget), xlabel="seconds of the repair (log scale)")
    panels[0].set_ylabel("restored share of the lost accuracy (%)")
    labels = [experiment.label(method, budgets) for method in methods if method in shown]
    figure.legend([shown[method] for method in methods if method in shown], labels, loc="outside right upper")
    add_caption(figure, experiment, "large: mean over seeds (geometric of the seconds); small: each seed")
    return figure


def _label_plainly(axis: Any) -> None:
    """Plain numbers on a logarithmic axis: several a decade where it has few decades."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = axis.get_data_interval()
    subs = (1, 2, 3, 5, 7) if high < 5 * low else (1, 2, 5) if high < 30 * low else (1, 3)
    axis.set_major_locator(LogLocator(subs=subs, numticks=20))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
