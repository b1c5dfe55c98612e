"""Test accuracy over the number of wrong rows: a line a method, a band of one standard deviation over seeds."""

from __future__ import annotations

from typing import Any

import numpy as np

from unlearning.drawing import canvas, palette
from unlearning.drawing.palette import look
from unlearning.experiments.results.compare import mean_std
from unlearning.reporting.figures.experiment import Experiment, count_seeds
from unlearning.reporting.figures.parts import CLEAN_DASH, POISONED_DASH, add_caption, draw_band, give_letters


def draw_accuracy(experiment: Experiment) -> Any:
    """Draws the accuracy after each repair, between the clean and the poisoned model's."""
    budgets, methods = experiment.budgets, experiment.methods
    figure, axes = canvas.new_figure(canvas.PAPER_WIDTH, max(3.4, 0.19 * len(methods) + 1.1))
    gap = min(np.diff(budgets), default=1.0)  # the room that methods of a single budget have to stand side by side
    _draw_models(axes, experiment)
    lone = [method for method in methods if sum(bool(experiment.of(b, method)) for b in budgets) == 1]
    room = 0.4 if len(budgets) == 1 else 0.12
    places = np.linspace(-room, room, len(lone)) * gap if len(lone) > 1 else np.zeros(len(lone))
    shifts = dict(zip(lone, places, strict=True))
    letters = give_letters(methods, look)
    for method in methods:
        values = [[100 * r.acc_after_fix for r in experiment.of(budget, method).values()] for budget in budgets]
        letter, own = letters.get(method, ""), look(method)
        draw_band(
            axes,
            np.array(budgets) + shifts.get(method, 0.0),
            values,
            experiment.label(method, budgets, letter),
            letter,
            color=own.colour,
            linestyle=own.matplotlib_dash,
            marker=own.matplotlib_marker,
            markeredgecolor="white",
            markeredgewidth=0.5,
        )
    axes.set_xticks(budgets, [f"{b:,}\n({100 * experiment.rate(b):.3g} %)" for b in budgets])
    side = 0.5 if len(budgets) == 1 else 0.17
    axes.set_xlim(budgets[0] - side * gap, budgets[-1] + side * gap)
    axes.grid(axis="x", visible=False)
    axes.set(xlabel="training rows with a wrong label (share of all)", ylabel="test accuracy (%)")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper")
    add_caption(figure, experiment, "mean over seeds; band or bar: ± 1 standard deviation")
    return figure


def _draw_models(axes: Any, experiment: Experiment) -> None:
    """The clean and the poisoned model; all across where there is but one budget."""
    budgets = experiment.budgets
    cells = [experiment.cells(budget) for budget in budgets]
    for label, key, colour, dash in (
        (f"clean model {experiment.count_clean(experiment.seeds)}".strip(), "acc_clean", palette.CLEAN, CLEAN_DASH),
        (f"poisoned model {count_seeds(cells)}", "acc_before_fix", palette.POISONED, POISONED_DASH),
    ):
        values = [[100 * getattr(r, key) for r in found.values()] for found in cells]
        if len(budgets) > 1:
            draw_band(axes, budgets, values, label, color=colour, linestyle=dash)
            continue
        mean, std = mean_std(values[0])
        assert mean is not None
        axes.axhline(mean, color=colour, linestyle=dash, label=label)
        axes.axhspan(mean - (std or 0), mean + (std or 0), color=colour, alpha=0.13, linewidth=0)
