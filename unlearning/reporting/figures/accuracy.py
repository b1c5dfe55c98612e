"""Test accuracy after each repair: over the number of wrong rows, or by method where there is one number alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from unlearning.drawing import canvas, palette
from unlearning.drawing.palette import marker_style
from unlearning.experiments.results.compare import mean_std
from unlearning.reporting.figures.experiment import Experiment, count_seeds
from unlearning.reporting.figures.parts import CLEAN_DASH, POISONED_DASH, add_caption, draw_band

_MODELS = (
    ("clean model", "acc_clean", palette.CLEAN, CLEAN_DASH),
    ("poisoned model", "acc_before_fix", palette.POISONED, POISONED_DASH),
)


def draw_accuracy(experiment: Experiment) -> Any:
    """Draws the accuracy after each repair, between the clean and the poisoned model's.

    A line joins what one method reached at several budgets. Where none was run at several there is no budget to draw
    over: a row a method, then.

    Args:
        experiment: The experiment.

    Returns:
        The Matplotlib figure.
    """
    budgets = experiment.budgets
    over = [m for m in experiment.methods if sum(bool(experiment.of(b, m)) for b in budgets) > 1]
    return _draw_over_budget(experiment, over) if over else _draw_by_method(experiment)


def _draw_over_budget(experiment: Experiment, methods: list[str]) -> Any:
    budgets = experiment.budgets
    figure, axes = canvas.new_figure(canvas.PAPER_WIDTH, max(3.2, 0.19 * len(methods) + 1.1))
    cells = [experiment.cells(budget) for budget in budgets]
    for name, key, colour, dash in _MODELS:
        values = [[100 * getattr(r, key) for r in found.values()] for found in cells]
        count = experiment.count_clean(experiment.seeds) if key == "acc_clean" else count_seeds(cells)
        draw_band(axes, budgets, values, f"{name} {count}".strip(), color=colour, linestyle=dash)
    for method in methods:
        values = [[100 * r.acc_after_fix for r in experiment.of(budget, method).values()] for budget in budgets]
        style = experiment.looks[method]
        draw_band(
            axes,
            budgets,
            values,
            experiment.label(method, budgets),
            color=style.colour,
            linestyle=style.matplotlib_dash,
            markeredgewidth=0.7,
            **marker_style(style),
        )
    axes.set_xticks(budgets, [f"{b:,}\n({100 * experiment.rate(b):.3g} %)" for b in budgets])
    axes.grid(axis="x", visible=False)
    axes.set(xlabel="training rows with a wrong label (share of all)", ylabel="test accuracy (%)")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper")
    alone = len(experiment.methods) - len(methods)
    rest = f"; {alone} method{'s' * (alone > 1)} of one budget alone {'are' if alone > 1 else 'is'} in other figures"
    add_caption(figure, experiment, "mean over seeds; band: ± 1 standard deviation" + (rest if alone else ""))
    return figure


def _draw_by_method(experiment: Experiment) -> Any:
    """A panel a budget, a row a method; the best on top."""
    budgets = experiment.budgets
    found = [sorted((m for m in experiment.repairs[b]), key=lambda m: -_mean(experiment, b, m)) for b in budgets]
    heights = [0.22 * len(methods) + 0.7 for methods in found]
    ratios = {"height_ratios": heights}
    size = canvas.PAPER_WIDTH, sum(heights) + 0.3
    figure, grid = canvas.new_figure(*size, rows=len(budgets), gridspec_kw=ratios, squeeze=False)
    for axes, budget, methods in zip(grid[:, 0], budgets, found, strict=True):
        for place, method in enumerate(methods):
            mean, std = mean_std([100 * r.acc_after_fix for r in experiment.of(budget, method).values()])
            style = experiment.looks[method]
            axes.errorbar(mean, place, xerr=std or None, color=style.colour, linestyle="", **marker_style(style))
        for name, key, colour, dash in _MODELS:
            mean, std = mean_std([100 * getattr(r, key) for r in experiment.cells(budget).values()])
            if mean is None:
                continue
            axes.axvline(mean, color=colour, linestyle=dash, linewidth=1)
            axes.axvspan(mean - (std or 0), mean + (std or 0), color=colour, alpha=0.13, linewidth=0)
            name = name.partition(" ")[0]
            axes.annotate(
                name,
                (mean, 1),
                (0, 2),
                xycoords=("data", "axes fraction"),
                textcoords="offset points",
                ha="center",
                va="bottom",
                fontsize=7,
                color="#505050",
            )
        axes.set_yticks(range(len(methods)), [experiment.label(method, [budget]) for method in methods])
        axes.set_ylim(len(methods) - 0.4, -0.6)
        axes.grid(axis="y", visible=False)
        axes.set_title(experiment.title(budget), pad=12)
    grid[-1, 0].set_xlabel("test accuracy (%)")
    add_caption(figure, experiment, "mean over seeds; bar: ± 1 standard deviation")
    return figure


def _mean(experiment: Experiment, budget: int, method: str) -> float:
    return float(np.mean([r.acc_after_fix for r in experiment.of(budget, method).values()]))
