"""Figures of whole experiments, for a paper: accuracy, restored share, seconds, classes and solvers, over all seeds.

All numbers come from the result records (and the solver logs beside them), so that figures can be drawn at any state of
a grid, without weights or data. Every experiment gets a folder of its own, every figure a name of its own; a method
looks the same in all of them (see `palette`), and equal records make equal files.
"""

from __future__ import annotations

import csv
import dataclasses
import math
import os
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from unlearning.drawing import palette
from unlearning.drawing.figures import _save
from unlearning.drawing.palette import look, sort_methods
from unlearning.errors import InputError, invalid, printable
from unlearning.experiments.cell import folder as layout
from unlearning.experiments.cell.run import check_outputs
from unlearning.experiments.results.compare import mean_std
from unlearning.experiments.results.reader import read_folders
from unlearning.experiments.results.tree import Entry
from unlearning.progress import progress_bar
from unlearning.records import TrainResults, UnlearningResults, read_json
from unlearning.reporting.tables import shorten

FORMATS = ("png", "pdf")
_DPI = 300
_MOST_CLASSES = 20  # beyond, numbers no longer fit into the cells of a heat map
_LONGEST_NAME = 10  # letters of a class under its column
_LOWEST_RESTORED = -100.0  # per cent; a repair that lost more stands at the edge, with its number
_LARGEST_LOG = 16 * 2**20

_STYLE: dict[str, Any] = {
    **{"font.family": "DejaVu Sans", "font.size": 8, "axes.titlesize": 8.5, "axes.labelsize": 8.5},
    **{"legend.fontsize": 7.5, "legend.frameon": False, "legend.handlelength": 2.6, "legend.labelspacing": 0.55},
    **{"xtick.labelsize": 7.5, "ytick.labelsize": 7.5, "axes.spines.top": False, "axes.spines.right": False},
    **{"axes.edgecolor": "#606060", "axes.linewidth": 0.7, "xtick.major.width": 0.7, "ytick.major.width": 0.7},
    **{"axes.grid": True, "axes.axisbelow": True, "grid.color": "#D9D9D9", "grid.linewidth": 0.5},
    **{"lines.linewidth": 1.4, "lines.markersize": 5, "axes.titlelocation": "left"},
}


@dataclasses.dataclass(frozen=True)
class StudyFigures:
    """What was drawn.

    Attributes:
        paths: The files, by experiment, figure and format.
        left_out: Figures without anything to draw, as `experiment/figure`, and why.
        foreign: Number of results of the published implementation, which are not drawn: some of their fields mean
            something else (see `unlearning.records.reference.NOTES`).
    """

    paths: tuple[Path, ...]
    left_out: tuple[str, ...]
    foreign: int


def draw_study(
    folders: Sequence[Path], out: Path, *, formats: Sequence[str] = ("png",), force: bool = False
) -> StudyFigures:
    """Draws every figure of every experiment below folders that its records have the numbers for.

    Args:
        folders: Folders of any level; see `read_folders`.
        out: Where `<experiment>/<figure>.<format>` go; experiments are named as by `export`.
        formats: Any of `png` (300 dots an inch) and `pdf` (fonts embedded as TrueType).
        force: Replace existing files.

    Returns:
        The files, and which figures were left out.

    Raises:
        InputError: If there is nothing to draw, a format is unknown, a file is damaged, or one to be written exists;
            nothing is written then.
    """
    import matplotlib

    formats = tuple(dict.fromkeys(formats))
    if not formats or set(formats) - set(FORMATS):
        raise invalid("format", f"any of {', '.join(FORMATS)}, separated by commas", ",".join(formats))
    check_outputs((out / "figure",), force)
    entries = read_folders(folders, strict=True).entries()
    experiments = _by_experiment(entries)
    if not experiments:
        raise InputError(f"Nothing to draw: no repairs by this program below {', '.join(map(str, folders))}.")
    drawn: list[tuple[Path, Any]] = []
    left_out = []
    with matplotlib.rc_context(cast(Any, _STYLE)):
        for experiment in experiments:
            for name, (draw, lacking) in _FIGURES.items():
                figure = draw(experiment)
                if figure is None:
                    left_out.append(f"{experiment.name}/{name}: {lacking}")
                else:
                    drawn += [(out / experiment.name / f"{name}.{kind}", figure) for kind in formats]
        if not drawn:
            raise InputError(f"Nothing to draw. {'; '.join(left_out)}.")
        for path, _ in drawn:
            check_outputs((path,), force)
        for path, figure in progress_bar(drawn, description="figures", unit="file"):
            _replace(figure, path)
    return StudyFigures(tuple(path for path, _ in drawn), tuple(left_out), _count_foreign(entries))


@dataclasses.dataclass(frozen=True)
class _Experiment:
    """The repairs of one experiment folder.

    Attributes:
        name: Its name; see `Entry`.
        folder: The folder.
        repairs: Results by budget, method (folder name) and seed.
        logs: Solver logs by the same.
    """

    name: str
    folder: Path
    repairs: dict[int, dict[str, dict[int, UnlearningResults]]]
    logs: dict[tuple[int, str, int], Path]

    @property
    def budgets(self) -> list[int]:
        return sorted(self.repairs)

    @property
    def methods(self) -> list[str]:
        return sort_methods({name for methods in self.repairs.values() for name in methods})

    def of(self, budget: int, method: str) -> dict[int, UnlearningResults]:
        """Results by seed."""
        return self.repairs[budget].get(method, {})

    def cells(self, budget: int) -> dict[int, UnlearningResults]:
        """One result a seed: for what all methods share, the poisoned and the clean model."""
        return {seed: r for cells in self.repairs[budget].values() for seed, r in sorted(cells.items())}

    def title(self, budget: int) -> str:
        rate = next(iter(self.cells(budget).values())).rate
        return f"{budget:,} wrong rows ({100 * rate:.3g} %)"


def _by_experiment(entries: Sequence[Entry]) -> list[_Experiment]:
    found: dict[str, _Experiment] = {}
    for entry in entries:
        if not isinstance(entry.results, UnlearningResults):
            continue
        folder = entry.folder.resolve().parents[2]
        experiment = found.setdefault(entry.experiment, _Experiment(entry.experiment, folder, {}, {}))
        if experiment.folder != folder:
            raise InputError(
                f"Two experiments would both be drawn as {entry.experiment}: {experiment.folder} and {folder}. "
                "Draw them into different folders, or give the folder above both."
            )
        methods = experiment.repairs.setdefault(entry.budget, {})
        methods.setdefault(entry.name, {})[entry.seed] = entry.results
        log = layout.MethodFiles(entry.folder).solver_log
        if log.is_file():
            experiment.logs[entry.budget, entry.name, entry.seed] = log
    return [found[name] for name in sorted(found)]


def _count_foreign(entries: Sequence[Entry]) -> int:
    return sum(not isinstance(entry.results, UnlearningResults) for entry in entries)


def _accuracy_over_budget(experiment: _Experiment) -> Any:
    """Test accuracy over the number of wrong rows: a line a method, a band of one standard deviation over seeds."""
    budgets, methods = experiment.budgets, experiment.methods
    figure, axes = _figure(7.0, max(3.4, 0.19 * len(methods) + 1.1))
    gap = min(np.diff(budgets), default=1.0)  # the room that methods of a single budget have to stand side by side
    cells = [experiment.cells(budget) for budget in budgets]
    for key, colour, dash, label in _REFERENCES:
        values = [[100 * getattr(r, key) for r in c.values()] for c in cells]
        text = label if key == "acc_clean" else f"{label} {_count(cells)}"
        if len(budgets) > 1:
            _draw_band(axes, budgets, values, text, color=colour, linestyle=dash)
            continue
        mean, std = mean_std(values[0])
        assert mean is not None
        axes.axhline(mean, color=colour, linestyle=dash, label=text)
        axes.axhspan(mean - (std or 0), mean + (std or 0), color=colour, alpha=0.13, linewidth=0)
    lone = [method for method in methods if sum(bool(experiment.of(b, method)) for b in budgets) == 1]
    room = 0.4 if len(budgets) == 1 else 0.12
    shifts = dict(zip(lone, np.linspace(-room, room, len(lone)) * gap if len(lone) > 1 else [0.0], strict=True))
    letters = _letters(methods, lambda method: look(method))
    for method in methods:
        results = [experiment.of(budget, method) for budget in budgets]
        values = [[100 * r.acc_after_fix for r in found.values()] for found in results]
        x = np.array(budgets) + shifts.get(method, 0.0)
        label = f"{method}{letters.get(method, '')} {_count(results)}"
        style = {"color": look(method).colour, "linestyle": look(method).matplotlib_dash, **_marked(method)}
        _draw_band(axes, x, values, label, letter=letters.get(method, ""), **style)
    rates = [next(iter(c.values())).rate for c in cells]
    axes.set_xticks(budgets, [f"{b:,}\n({100 * r:.3g} %)" for b, r in zip(budgets, rates, strict=True)])
    side = 0.5 if len(budgets) == 1 else 0.17
    axes.set_xlim(budgets[0] - side * gap, budgets[-1] + side * gap)
    axes.grid(axis="x", visible=False)
    axes.set(xlabel="training rows with a wrong label (share of all)", ylabel="test accuracy (%)")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper")
    _caption(figure, experiment, "mean over seeds; band or bar: ± 1 standard deviation")
    return figure


def _draw_band(
    axes: Any, x: Sequence[float] | np.ndarray, values: list[list[float]], label: str, letter: str = "", **style: Any
) -> None:
    """Draws the mean over seeds as a line with a band around it, or a single point with a bar."""
    summary = [(place, *mean_std(v)) for place, v in zip(x, values, strict=True) if v]
    places, means, stds = (np.array([row[i] or 0.0 for row in summary]) for i in range(3))
    axes.plot(places, means, label=label, **style)
    if len(places) > 1:
        axes.fill_between(places, means - stds, means + stds, color=style["color"], alpha=0.13, linewidth=0)
    elif stds.any():
        axes.errorbar(places, means, stds, color=style["color"], linewidth=1, capsize=2)
    _add_letter(axes, places[-1], means[-1], letter, style["color"])


def _restored_over_seconds(experiment: _Experiment) -> Any:
    """What a repair restores over what it takes: large markers are means, small ones the seeds."""
    budgets = [b for b in experiment.budgets if any(_restored(experiment.of(b, m)) for m in experiment.methods)]
    if not budgets:
        return None
    figure, panels = _panels(len(budgets), width=3.1, height=3.3, legend=2.1, rows_for=len(experiment.methods))
    shown: dict[str, Any] = {}
    letters = _letters(experiment.methods, lambda method: (look(method).colour, look(method).marker))
    for axes, budget in zip(panels, budgets, strict=True):
        for method in experiment.methods:
            results = experiment.of(budget, method)
            shares = _restored(results)
            if not shares:
                continue
            seconds = np.maximum([results[seed].unlearning_duration_s for seed in shares], 1e-3)
            style, colour = look(method), look(method).colour
            heights = _clipped(shares.values())
            if len(shares) > 1:
                axes.scatter(seconds, heights, s=12, color=colour, marker=style.matplotlib_marker, alpha=0.45, lw=0)
            middle = float(np.exp(np.mean(np.log(seconds))))
            shown[method] = axes.scatter(
                [middle],
                [np.mean(heights)],
                s=52,
                color=colour,
                marker=style.matplotlib_marker,
                edgecolors="white",
                linewidths=0.7,
                zorder=3,
            )
            _add_letter(axes, middle, float(np.mean(heights)), letters.get(method, ""), colour)
        _between(axes, horizontal=True)
        axes.set_xscale("log")
        _plain_log(axes.xaxis)
        axes.set(title=experiment.title(budget), xlabel="seconds of the repair (log scale)")
    panels[0].set_ylabel("restored share of the lost accuracy (%)")
    labels = [
        f"{m}{letters.get(m, '')} {_count([experiment.of(b, m) for b in budgets])}"
        for m in experiment.methods
        if m in shown
    ]
    handles = [shown[m] for m in experiment.methods if m in shown]
    figure.legend(handles, labels, loc="outside right upper")
    _caption(figure, experiment, "large: mean over seeds (geometric of the seconds); small: each seed")
    return figure


def _restored_by_method(experiment: _Experiment) -> Any:
    """What each method restores: a bar to the mean, a marker a seed; best on top."""
    means: dict[str, float] = {}
    for method in experiment.methods:
        averages = [mean_std(list(_restored(experiment.of(b, method)).values()))[0] for b in experiment.budgets]
        defined = [a for a in averages if a is not None]
        if defined:
            means[method] = float(np.mean(defined))
    if not means:
        return None
    methods = sorted(means, key=lambda method: (-means[method], method))
    budgets = [b for b in experiment.budgets if any(_restored(experiment.of(b, m)) for m in methods)]
    height = 0.24 * len(methods) + 1.0
    figure, panels = _panels(len(budgets), width=2.6, height=height, legend=2.0)
    for axes, budget in zip(panels, budgets, strict=True):
        for place, method in enumerate(methods):
            shares = _restored(experiment.of(budget, method))
            if not shares:
                axes.text(1, place, "no result", fontsize=6.5, color=palette.GREY, va="center")
                continue
            colour, mean = look(method).colour, float(np.mean(list(shares.values())))
            values = _clipped(shares.values())
            axes.barh(place, max(mean, _LOWEST_RESTORED), height=0.62, color=colour, alpha=0.3, linewidth=0)
            axes.plot([max(mean, _LOWEST_RESTORED)] * 2, [place - 0.31, place + 0.31], color=colour, linewidth=1.6)
            marker = look(method).matplotlib_marker
            spread = np.linspace(-0.14, 0.14, len(values)) if len(values) > 1 else [0.0]
            axes.scatter(
                values,
                place + np.array(spread),
                s=14,
                color=colour,
                marker=marker,
                edgecolors="white",
                lw=0.4,
                zorder=3,
            )
            if mean < _LOWEST_RESTORED:
                axes.text(_LOWEST_RESTORED + 4, place, f"{mean:.0f} %", fontsize=6.5, va="center")
        _between(axes, horizontal=False)
        axes.grid(axis="y", visible=False)
        left, right = axes.get_xlim()
        axes.set(title=experiment.title(budget), xlabel="restored share (%)", xlim=(min(left, -3), max(right, 105)))
    labels = [f"{m} {_count([experiment.of(b, m) for b in budgets])}" for m in methods]
    panels[0].set_yticks(range(len(methods)), labels)
    panels[0].set_ylim(len(methods) - 0.4, -0.6)
    _caption(figure, experiment, "restored share of the lost test accuracy; bar: mean over seeds; markers: each seed")
    return figure


def _recall_by_class(experiment: _Experiment) -> Any:
    """Recall of every class: of the clean model, before the repair and after it."""
    import seaborn as sns

    tables: list[tuple[int, list[str], np.ndarray]] = []
    for budget in experiment.budgets:
        rows: dict[str, list[dict[str, float]]] = {}
        before: dict[int, dict[str, float]] = {}
        for method in experiment.methods:
            for seed, result in experiment.of(budget, method).items():
                if result.class_report_before is None or result.class_report_after is None:
                    continue
                before[seed] = {k: scores.recall for k, scores in result.class_report_before.items()}
                rows.setdefault(method, []).append({k: s.recall for k, s in result.class_report_after.items()})
        if not rows:
            continue
        names = {f"poisoned (n = {len(before)})": list(before.values())}
        names |= {f"{method} (n = {len(found)})": found for method, found in rows.items()}
        clean = _clean_recall(experiment)
        if clean:
            names = {"clean": [clean], **names}
        classes = sorted({int(k) for found in names.values() for row in found for k in row if k.isdigit()})
        table = [
            [mean_std([100 * row[str(k)] for row in found if str(k) in row])[0] for k in classes]
            for found in names.values()
        ]
        tables.append((budget, list(names), np.array(table, dtype=float)))
    if not tables:
        return None
    classes_shown = max(table.shape[1] for _, _, table in tables)
    few = classes_shown <= _MOST_CLASSES
    heights = [0.23 * len(names) + 0.62 for _, names, _ in tables]
    figure, panels = _figure(
        7.0, sum(heights) + 0.35, rows=len(tables), gridspec_kw={"height_ratios": heights}, squeeze=False
    )
    for axes, (budget, labels, shares) in zip(panels[:, 0], tables, strict=True):
        ticks: Any = _class_names(experiment, budget, shares.shape[1]) if few else max(1, classes_shown // 20)
        sns.heatmap(
            shares,
            vmin=0,
            vmax=100,
            cmap="viridis",
            annot=few,
            fmt=".0f",
            annot_kws={"fontsize": 6.5},
            linewidths=0.4 if few else 0,
            yticklabels=labels,
            xticklabels=ticks,
            cbar_kws={"label": "recall (%)", "pad": 0.015, "aspect": 14},
            ax=axes,
        )
        models = sum(label == "clean" or label.startswith("poisoned") for label in labels)
        axes.axhline(models, color="white", linewidth=3)  # what repairs lie between, and the repairs
        axes.tick_params(length=0)
        axes.tick_params(axis="y", rotation=0)
        axes.tick_params(axis="x", rotation=0)
        axes.grid(visible=False)
        axes.set(title=experiment.title(budget), xlabel="class")
    _caption(figure, experiment, "share of a class's test rows that are recognised; mean over seeds")
    return figure


def _class_names(experiment: _Experiment, budget: int, count: int) -> list[str] | str:
    """Names of the classes, where the records have short ones; else their numbers."""
    for result in (r for found in experiment.repairs[budget].values() for r in found.values()):
        names = result.class_names
        if names and len(names) == count and max(map(len, names)) <= _LONGEST_NAME:
            return list(map(printable, names))
    return "auto"


def _clean_recall(experiment: _Experiment) -> dict[str, float]:
    path = layout.clean_files(experiment.folder).results
    if not path.is_file():
        return {}
    classes = read_json(path, TrainResults).__pydantic_extra__ or {}
    return {name: scores.recall for name, scores in classes.items() if name.isdigit()}


def _solver_convergence(experiment: _Experiment) -> Any:
    """The residual of every solve over its iterations, a panel a method and budget; later steps are lighter."""
    from matplotlib.ticker import MaxNLocator

    panels_wanted: dict[tuple[int, str], list[list[_Solve]]] = {}
    for (budget, method, _), path in sorted(experiment.logs.items()):
        solves = _read_solves(path)
        if solves:
            panels_wanted.setdefault((budget, method), []).append(solves)
    if not panels_wanted:
        return None
    order = experiment.methods
    keys = sorted(panels_wanted, key=lambda key: (order.index(key[1]), key[0]))
    columns = min(3, len(keys))
    rows = math.ceil(len(keys) / columns)
    figure, grid = _figure(7.0 if columns > 1 else 4.2, 2.0 * rows + 0.4, rows=rows, columns=columns, squeeze=False)
    residuals = [
        v for found in panels_wanted.values() for solves in found for s in solves if s.residual for v in s.values
    ]
    for number, axes in enumerate(grid.flat):
        if number >= len(keys):
            axes.set_visible(False)
            continue
        budget, method = keys[number]
        found, style = panels_wanted[keys[number]], look(method)
        steps = max(solve.step for solves in found for solve in solves)
        for solves in found:
            for solve in solves:
                light = 0.95 - 0.65 * (solve.step - 1) / max(steps - 1, 1)
                axes.plot(
                    solve.iterations,
                    solve.values,
                    color=style.colour,
                    alpha=light,
                    linestyle=style.matplotlib_dash,
                    marker=style.matplotlib_marker,
                    markevery=max(1, len(solve.values) // 4),
                    markersize=3,
                    linewidth=1,
                )
        count, seeds = sum(map(len, found)), len(found)
        text = f"{shorten(method)}\n{budget:,} wrong rows, {count} solve{'s' * (count > 1)}, n = {seeds}"
        axes.set_title(text, fontsize=7)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
        residual = found[0][0].residual
        if residual:  # one scale for all that can be compared
            axes.set_yscale("log")
            axes.set_ylim(10 ** math.floor(math.log10(min(residuals))), 10 ** math.ceil(math.log10(max(residuals))))
        else:
            axes.ticklabel_format(axis="y", scilimits=(-2, 4))
        if not residual or number % columns == 0:
            axes.set_ylabel("relative residual" if residual else "norm of the update")
        if number >= len(keys) - columns:
            axes.set_xlabel("iteration")
    _caption(figure, experiment, "a line a solve; steps after the first are lighter; n: seeds")
    return figure


@dataclasses.dataclass(frozen=True)
class _Solve:
    """One solve in a log: positive numbers over iterations; `residual`: relative residuals, else norms of updates."""

    step: int
    residual: bool
    iterations: list[int]
    values: list[float]


def _read_solves(path: Path) -> list[_Solve]:
    """Reads `log_solver.csv`; numbers that a logarithmic axis has no place for are left out."""
    if path.stat().st_size > _LARGEST_LOG:
        raise invalid(path.name, f"at most {_LARGEST_LOG} bytes", f"{path.stat().st_size} bytes in {path}")
    solves: dict[tuple[str, int], _Solve] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file, strict=True):
                residual = "relative_residual" in row
                value = float(row["relative_residual" if residual else "update_norm"] or "nan")
                step, iteration = int(row["step"]), int(row["iteration"])
                solve = solves.setdefault((row.get("stage") or "", step), _Solve(step, residual, [], []))
                if math.isfinite(value) and value > 0:
                    solve.iterations.append(iteration)
                    solve.values.append(value)
    except (csv.Error, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is not a solver log: {error}") from error
    return [solve for solve in solves.values() if solve.values]


_FIGURES: dict[str, tuple[Callable[[_Experiment], Any], str]] = {
    "accuracy-over-budget": (_accuracy_over_budget, "no repairs"),
    "restored-over-seconds": (_restored_over_seconds, "no accuracy was lost"),
    "restored-by-method": (_restored_by_method, "no accuracy was lost"),
    "recall-by-class": (_recall_by_class, "no record has reports by class"),
    "solver-convergence": (_solver_convergence, "no method solved a linear system"),
}
FIGURES = tuple(_FIGURES)
"""Names of the figures, which are those of their files."""

_RAISED = "ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻ"

_REFERENCES = (
    ("acc_clean", palette.CLEAN, (0, (1, 1)), "clean model"),
    ("acc_before_fix", palette.POISONED, (0, (5, 2)), "poisoned model"),
)


def _restored(results: dict[int, UnlearningResults]) -> dict[int, float]:
    """Restored shares in per cent by seed, where they are defined."""
    found = {seed: r.acc_perc_restored for seed, r in sorted(results.items())}
    return {seed: 100 * share for seed, share in found.items() if share is not None}


def _clipped(shares: Any) -> np.ndarray:
    return np.maximum(np.array(list(shares)), _LOWEST_RESTORED)


def _count(cells: Sequence[dict[int, Any]]) -> str:
    """The number of seeds, as `(n = 3)`, or as a range where it differs between budgets."""
    counts = sorted({len(found) for found in cells if found})
    return f"(n = {counts[0]})" if len(counts) == 1 else f"(n = {counts[0]}–{counts[-1]})"


def _letters(methods: Sequence[str], appearance: Callable[[str], Any]) -> dict[str, str]:
    """Raised letters for methods that a figure would otherwise show alike: hues, markers and dashes are few."""
    groups: dict[Any, list[str]] = {}
    for method in methods:
        groups.setdefault(appearance(method), []).append(method)
    alike = [method for method in methods if len(groups[appearance(method)]) > 1]
    return {method: _RAISED[number] for number, method in enumerate(alike[: len(_RAISED)])}


def _add_letter(axes: Any, x: float, y: float, letter: str, colour: str) -> None:
    if letter:
        axes.annotate(letter, (x, y), (3.5, 1.5), textcoords="offset points", color=colour, fontsize=9)


def _plain_log(axis: Any) -> None:
    """Plain numbers on a logarithmic axis: several a decade where it has few decades."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = axis.get_data_interval()
    subs = (1, 2, 3, 5, 7) if high < 5 * low else (1, 2, 5) if high < 30 * low else (1, 3)
    axis.set_major_locator(LogLocator(subs=subs, numticks=20))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _marked(method: str) -> dict[str, Any]:
    return {"marker": look(method).matplotlib_marker, "markeredgecolor": "white", "markeredgewidth": 0.5}


def _between(axes: Any, *, horizontal: bool) -> None:
    """Lines where a repair did nothing, and where it restored everything."""
    line = axes.axhline if horizontal else axes.axvline
    line(0, color=palette.POISONED, linewidth=1, linestyle=(0, (5, 2)), zorder=1)
    line(100, color=palette.CLEAN, linewidth=1, linestyle=(0, (1, 1)), zorder=1)


def _caption(figure: Any, experiment: _Experiment, text: str) -> None:
    seeds = sorted({seed for budget in experiment.budgets for seed in experiment.cells(budget)})
    shown = ", ".join(map(str, seeds)) if len(seeds) <= 8 else f"{seeds[0]} … {seeds[-1]}"
    lines = f"{experiment.name}. {text[0].upper()}{text[1:]}. Seed{'s' * (len(seeds) > 1)}: {shown} (n = {len(seeds)})."
    lines = textwrap.fill(lines, int(18 * figure.get_figwidth()))
    figure.supxlabel(lines, fontsize=6.5, color="#505050", x=0.01, ha="left")


def _figure(width: float, height: float, *, rows: int = 1, columns: int = 1, **options: Any) -> tuple[Any, Any]:
    # A figure of its own canvas: no display, no global state, nothing to close.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, **options)


def _panels(count: int, *, width: float, height: float, legend: float, rows_for: int = 0) -> tuple[Any, list[Any]]:
    """A row of panels that share both axes, beside room for a legend of `legend` inches."""
    height = max(height, 0.19 * rows_for + 0.9)
    figure, axes = _figure(width * count + legend, height, columns=count, sharex=True, sharey=True, squeeze=False)
    return figure, list(axes.flat)


def _replace(figure: Any, path: Path) -> None:
    """Writes a file so that `path` holds either the old or the whole new content."""
    partial = path.with_name(f".partial-{os.getpid()}-{path.name}")
    try:
        _save(figure, partial, dpi=_DPI)
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
