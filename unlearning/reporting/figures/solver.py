"""The residual of every solve over its iterations, a panel a method and budget; later steps are lighter.

Where several systems are solved at once, with a damping each, that of the one which the repair took is drawn. The log
has the least and the most damped one; of those between, the end is on record.
"""

from __future__ import annotations

import math
from typing import Any

from unlearning.drawing import canvas
from unlearning.drawing.palette import Look
from unlearning.reporting.figures.experiment import Experiment
from unlearning.reporting.figures.parts import add_caption
from unlearning.reporting.solves import MEASURES, Chosen, Solve, find_chosen, read_solves
from unlearning.reporting.tables.text import shorten


def draw_solver(experiment: Experiment) -> Any:
    """Draws the convergence of all solves that left a log."""
    wanted: dict[tuple[int, str], list[list[Solve]]] = {}
    for (budget, method, seed), path in sorted(experiment.logs.items()):
        chosen = find_chosen(experiment.of(budget, method)[seed])
        solves = [solve for solve in _taken(read_solves(path), chosen) if _positive(solve)[0]]
        if solves:
            wanted.setdefault((budget, method), []).append(solves)
    if not wanted:
        return None
    order = experiment.methods
    keys = sorted(wanted, key=lambda key: (order.index(key[1]), key[0]))
    columns = min(3, len(keys))
    rows = math.ceil(len(keys) / columns)
    size = canvas.PAPER_WIDTH if columns > 1 else 4.2, 2.0 * rows + 0.4
    figure, grid = canvas.new_figure(*size, rows=rows, columns=columns, squeeze=False)
    solved = (solve for found in wanted.values() for solves in found for solve in solves)
    residuals = [v for solve in solved if solve.measure == MEASURES[0] for v in _positive(solve)[1]]
    for number, axes in enumerate(grid.flat):
        if number >= len(keys):
            axes.set_visible(False)
            continue
        budget, method = keys[number]
        found = wanted[keys[number]]
        _draw_panel(axes, experiment.looks[method], found)
        count, seeds = sum(map(len, found)), len(found)
        text = f"{shorten(method)}\n{budget:,} wrong rows, {count} solve{'s' * (count > 1)}, n = {seeds}"
        axes.set_title(text, fontsize=7)
        residual = found[0][0].measure == MEASURES[0]
        if residual:  # one scale for all that can be compared
            axes.set_yscale("log")
            low, high = math.floor(math.log10(min(residuals))), math.ceil(math.log10(max(residuals)))
            axes.set_ylim(10.0 ** max(low, -300), 10.0 ** min(high, 300))
            canvas.label_powers(axes.yaxis)
        else:
            axes.ticklabel_format(axis="y", scilimits=(-2, 4))
        if not residual or number % columns == 0:
            axes.set_ylabel("relative residual" if residual else "norm of the update")
        if number >= len(keys) - columns:
            axes.set_xlabel("iteration")
    add_caption(
        figure,
        experiment,
        "a line a solve, of the system that was chosen; a point: only its end is on record; later steps are lighter",
    )
    return figure


def _taken(solves: list[Solve], chosen: list[Chosen]) -> list[Solve]:
    """The solves whose solution was taken; all that are not the most damped where nobody knows."""
    if not chosen:
        return [solve for solve in solves if not solve.damped]
    logged = {(solve.step, solve.damped): solve for solve in solves}
    found = []
    for one in chosen:
        curve = logged.get((one.step, one.curve == "damped")) if one.curve else None
        end = Solve(f"step {one.step}", one.step, MEASURES[0], False, [one.iterations], [one.residual])
        found.append(end if curve is None else curve)
    return found if logged else []


def _draw_panel(axes: Any, style: Look, found: list[list[Solve]]) -> None:
    from matplotlib.ticker import MaxNLocator

    steps = max(solve.step for solves in found for solve in solves)
    for solves in found:
        for solve in solves:
            iterations, values = _positive(solve)
            axes.plot(
                iterations,
                values,
                color=style.colour,
                alpha=0.95 - 0.65 * (solve.step - 1) / max(steps - 1, 1),
                linestyle=style.matplotlib_dash,
                marker=style.matplotlib_marker,
                markerfacecolor=style.face,
                markevery=max(1, len(values) // 4),
                markersize=3,
                linewidth=1,
            )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))


def _positive(solve: Solve) -> tuple[list[int], list[float]]:
    """The points that a logarithmic axis has a place for."""
    points = [(i, v) for i, v in zip(solve.iterations, solve.values, strict=True) if v > 0]
    return [i for i, _ in points], [v for _, v in points]
