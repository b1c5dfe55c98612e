"""Recall of every class: of the clean models, before the repair and after it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from unlearning.drawing import canvas
from unlearning.experiments.results.compare import mean_std
from unlearning.records import ClassScores
from unlearning.reporting.figures.experiment import Experiment
from unlearning.reporting.figures.parts import add_caption

_MOST_CLASSES = 20  # beyond, numbers no longer fit into the cells of a heat map
_LETTERS = 60  # beside each other under a heat map
_LONGEST_NAME = 10  # letters of a class under its column


@dataclasses.dataclass(frozen=True)
class _Table:
    """Mean recall in per cent: a row a model, a column a class; `models` rows are of no repair."""

    budget: int
    rows: list[str]
    models: int
    values: np.ndarray


def draw_classes(experiment: Experiment) -> Any:
    """Draws recall by class, a heat map a budget."""
    import seaborn as sns

    tables = [table for budget in experiment.budgets if (table := _tabulate(experiment, budget)) is not None]
    if not tables:
        return None
    most = max(table.values.shape[1] for table in tables)
    few = most <= _MOST_CLASSES
    heights = [0.23 * len(table.rows) + 0.62 for table in tables]
    ratios = {"height_ratios": heights}
    size = canvas.PAPER_WIDTH, sum(heights) + 0.35
    figure, panels = canvas.new_figure(*size, rows=len(tables), gridspec_kw=ratios, squeeze=False)
    for axes, table in zip(panels[:, 0], tables, strict=True):
        names: Any = _class_names(experiment, table.budget, table.values.shape[1])
        sns.heatmap(
            table.values,
            vmin=0,
            vmax=100,
            cmap="viridis",
            annot=few,
            fmt=".0f",
            annot_kws={"fontsize": 6.5},
            linewidths=0.4 if few else 0,
            yticklabels=table.rows,
            xticklabels=names if few else max(1, most // 20),
            cbar_kws={"label": "recall (%)", "pad": 0.015, "aspect": 14},
            ax=axes,
        )
        axes.axhline(table.models, color="white", linewidth=3)  # what repairs lie between, and the repairs
        axes.tick_params(length=0)
        axes.tick_params(axis="y", rotation=0)
        crowded = few and names != "auto" and max(map(len, names)) > _LETTERS // len(names)
        axes.tick_params(axis="x", rotation=35 if crowded else 0)
        axes.grid(visible=False)
        axes.set(title=experiment.title(table.budget), xlabel="class")
    add_caption(figure, experiment, "share of a class's test rows that are recognised; mean over seeds")
    return figure


def _tabulate(experiment: Experiment, budget: int) -> _Table | None:
    repaired: dict[str, list[dict[str, float]]] = {}
    before: dict[int, dict[str, float]] = {}
    for method in experiment.methods:
        for seed, result in experiment.of(budget, method).items():
            if result.class_report_before is not None and result.class_report_after is not None:
                before[seed] = _recall(result.class_report_before)
                repaired.setdefault(method, []).append(_recall(result.class_report_after))
    if not repaired:
        return None
    models = {f"poisoned (n = {len(before)})": list(before.values())}
    clean = [_recall(experiment.clean[seed].__pydantic_extra__ or {}) for seed in before if seed in experiment.clean]
    if any(clean):
        models = {f"clean {experiment.count_clean(before)}": clean, **models}
    rows = [*models.items(), *((f"{method} (n = {len(found)})", found) for method, found in repaired.items())]
    classes = sorted({int(k) for _, found in rows for row in found for k in row})
    means = [[mean_std([100 * row[str(k)] for row in found if str(k) in row])[0] for k in classes] for _, found in rows]
    return _Table(budget, [name for name, _ in rows], len(models), np.array(means, dtype=float))


def _recall(report: Mapping[str, ClassScores]) -> dict[str, float]:
    return {
        name: scores.recall for name, scores in report.items() if name.isascii() and name.isdigit() and len(name) < 7
    }


def _class_names(experiment: Experiment, budget: int, count: int) -> list[str] | str:
    """Names of the classes, where the records have short ones; else their numbers."""
    for result in (r for found in experiment.repairs[budget].values() for r in found.values()):
        names = result.class_names
        if names and len(names) == count and max(map(len, names)) <= _LONGEST_NAME:
            return list(map(canvas.name_text, names))
    return "auto"
