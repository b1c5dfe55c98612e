"""How well each method heals where only a part of the bad rows is known: a cell a method and known share."""

from __future__ import annotations

from typing import Any

import numpy as np

from unlearning.experiments.results.compare import mean_std
from unlearning.records import UnlearningResults
from unlearning.reporting.figures.experiment import Experiment
from unlearning.reporting.figures.parts import add_caption, make_panels

_DARK = 0.6  # of the scale, above which letters are white


def draw_known(experiment: Experiment) -> Any:
    """Draws healed times utility as a heat map, a panel a budget; None where there is one known share alone."""
    cells = {budget: collect(experiment, budget) for budget in experiment.budgets}
    cells = {budget: found for budget, found in cells.items() if len({share for _, share in found}) > 1}
    if not cells:
        return None
    rows = max(len({name for name, _ in found}) for found in cells.values())
    figure, panels = make_panels(len(cells), width=2.8, height=0.34 * rows + 1.2, legend=2.0)
    for axes, (budget, found) in zip(panels, cells.items(), strict=True):
        _draw_one(axes, found)
        axes.set(title=experiment.title(budget), xlabel="bad rows known (%)")
    text = (
        "healed times utility (%): the share of all bad rows predicted as their true label, times test accuracy; mean "
        "over seeds"
    )
    add_caption(figure, experiment, text)
    return figure


def collect(experiment: Experiment, budget: int) -> dict[tuple[str, float], float]:
    """Returns healed times utility in per cent, mean over seeds, by method and known share.

    Args:
        experiment: The experiment.
        budget: One of its budgets.
    """
    products: dict[tuple[str, float], list[float]] = {}
    for label in experiment.methods:
        for result in experiment.of(budget, label).values():
            share = result.config.known_share
            product = healed_utility(result)
            if product is not None:
                name = label.replace(f"known-{100 * share:g}", "").strip("-").replace("--", "-")
                products.setdefault((name, share), []).append(100 * product)
    return {key: float(mean_std(values)[0] or 0.0) for key, values in products.items()}


def healed_utility(result: UnlearningResults) -> float | None:
    """Returns the share of all bad rows that are healed times test accuracy; None where no row has a right label."""
    healed = result.corrected_accuracy_after
    return None if healed is None else healed * result.acc_after_fix


def _draw_one(axes: Any, found: dict[tuple[str, float], float]) -> None:
    shares = sorted({share for _, share in found})
    names = sorted(
        {name for name, _ in found}, key=lambda name: -np.mean([v for (n, _), v in found.items() if n == name])
    )
    values = np.array([[found.get((name, share), np.nan) for share in shares] for name in names])
    axes.imshow(values, cmap="Blues", vmin=0, vmax=100, aspect="auto")
    axes.grid(visible=False)
    for (row, column), value in np.ndenumerate(values):
        shown = "not run" if np.isnan(value) else f"{value:.1f}"
        colour = "white" if value > 100 * _DARK else "black"
        axes.text(column, row, shown, ha="center", va="center", fontsize=7, color=colour)
    axes.set_xticks(range(len(shares)), [f"{100 * share:g}" for share in shares])
    axes.set_yticks(range(len(names)), [name.replace("-detected-", "\n+ ") for name in names])
