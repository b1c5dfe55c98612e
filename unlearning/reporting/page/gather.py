"""What the report page shows, read from experiment folders. Nothing is computed anew, written or locked.

A folder may be reported while a sweep fills it, and one damaged file must not hide all others: what cannot be read
becomes a line under `problems`.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import numpy as np
from pydantic import BaseModel

from unlearning.errors import InputError, invalid, printable
from unlearning.experiments.cell import folder as layout
from unlearning.experiments.grid.locks import find_writers
from unlearning.experiments.results.places import walk_files
from unlearning.records import (
    KINDS,
    CellFailure,
    DetectionResults,
    PoisonConfig,
    TrainConfig,
    TrainResults,
    UnlearnConfig,
    UnlearningResults,
    parse_record,
    read_json,
    read_raw,
)
from unlearning.records.reference import published_kind

State = Literal["done", "failed", "running", "missing"]
R = TypeVar("R", bound=BaseModel)

_LARGEST_LOG = 64 * 2**20
_LARGEST_FIGURE = 4 * 2**20
_MOST_POINTS = 100  # of a curve; more cannot be told apart on a screen
_MOST_CURVES = 24
_BINS = 40
_MEASURES = ("relative_residual", "update_norm")
_DAMPED = "_most_damped"  # ends the name of the same measure's column for the most damped of several systems


@dataclasses.dataclass(frozen=True)
class Curve:
    """The convergence of one solve, thinned to what a screen can show.

    Attributes:
        name: Its step, with its stage in a chain.
        damped: Whether it is the most damped of several systems solved together; the plain curve is the least damped.
        iterations: Iteration numbers.
        values: The measure at these iterations.
    """

    name: str
    damped: bool
    iterations: tuple[int, ...]
    values: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Repair:
    """One repair of a cell.

    Attributes:
        name: Its folder: method and variant.
        folder: Where it is.
        state: How far it is.
        config: Its configuration, or None.
        results: Its scores, or None.
        measure: What `curves` are: a column of `log_solver.csv`, or empty.
        curves: The solver's convergence.
        confusions: PNG files of the confusion matrices by `before` and `after`, where the record has no counts.
    """

    name: str
    folder: Path
    state: State
    config: UnlearnConfig | None
    results: UnlearningResults | None
    measure: str
    curves: tuple[Curve, ...]
    confusions: dict[str, bytes]


@dataclasses.dataclass(frozen=True)
class Suspect:
    """One row of `suspects.csv`.

    Attributes:
        row: Number of the training row.
        given: The label it was trained on.
        suggested: The label that the detector would give it.
        corrected: The label that a repair gives it; None where it is taken out.
        score: The higher, the more suspicious.
    """

    row: int
    given: int
    suggested: int
    corrected: int | None
    score: float


@dataclasses.dataclass(frozen=True)
class Detected:
    """One detection of a cell.

    Attributes:
        name: Its folder or file.
        results: Its record.
        suspects: The most suspicious rows, first the most suspicious.
        counts: Histogram of the scores in `suspects.csv`: rows a bin.
        edges: Edges of the bins, one more than `counts`; empty without that file.
        figure: `scores.png`, or None.
    """

    name: str
    results: DetectionResults
    suspects: tuple[Suspect, ...]
    counts: tuple[int, ...]
    edges: tuple[float, ...]
    figure: bytes | None


@dataclasses.dataclass(frozen=True)
class Cell:
    """One budget and seed.

    Attributes:
        budget: Its budget.
        seed: Its seed.
        folder: Where it is.
        state: How far it is.
        train_config: How its model was trained, or None.
        poison_config: How its labels were corrupted, or None.
        training: Scores of its poisoned model, or None.
        repairs: Its repairs, by name.
        detections: Its detections, by name.
        failure: What went wrong, or None.
    """

    budget: int
    seed: int
    folder: Path
    state: State
    train_config: TrainConfig | None
    poison_config: PoisonConfig | None
    training: TrainResults | None
    repairs: tuple[Repair, ...]
    detections: tuple[Detected, ...]
    failure: CellFailure | None


@dataclasses.dataclass(frozen=True)
class Shown:
    """One experiment folder.

    Attributes:
        label: Its name on the page; no absolute path.
        folder: Where it is.
        clean_config: How the clean model was trained, or None.
        clean: Scores of the clean model, or None.
        cells: Its cells, by budget and seed; cells that are only to be expected are `missing`.
        writers: Since when locks are held, by lock.
    """

    label: str
    folder: Path
    clean_config: TrainConfig | None
    clean: TrainResults | None
    cells: tuple[Cell, ...]
    writers: dict[str, str]

    def repairs(self) -> Iterator[tuple[Cell, Repair, UnlearningResults]]:
        """Yields the finished repairs."""
        for cell in self.cells:
            for repair in cell.repairs:
                if repair.results is not None:
                    yield cell, repair, repair.results

    def class_names(self) -> list[str] | None:
        """The names of the classes, where a record has them."""
        return next((r.class_names for _, _, r in self.repairs() if r.class_names is not None), None)


@dataclasses.dataclass(frozen=True)
class Gathered:
    """Everything for the page.

    Attributes:
        experiments: The experiments, by label.
        problems: What could not be read, one line a file.
        foreign: Number of results of the published implementation, which the page does not show.
    """

    experiments: tuple[Shown, ...]
    problems: tuple[str, ...]
    foreign: int


def gather(folders: Sequence[Path], suspects: int = 24) -> Gathered:
    """Reads what the page shows.

    Args:
        folders: Folders of any level: several experiments, one, or a cell.
        suspects: Most suspects to keep of a detection.

    Returns:
        What is there.

    Raises:
        InputError: If a folder is missing, or there is nothing to show.
    """
    reader = _Reader(suspects, [root.resolve().parent for root in folders])
    found: dict[Path, tuple[str, set[Path]]] = {}
    for root in folders:
        if not root.is_dir():
            raise InputError(f"There is no folder {root}.")
        resolved = root.resolve()
        for path in walk_files(resolved):
            if path.suffix != ".json" or path.stem not in KINDS:
                continue
            place = _place(path)
            if place is None:
                if path.stem == "unlearning_results":
                    reader.problem(InputError(f"{path} does not stand in budget-<B>/seed-<S>/<method>."))
                continue
            experiment, cell = place
            inside = experiment.is_relative_to(resolved)
            label = Path(resolved.name, experiment.relative_to(resolved)).as_posix() if inside else experiment.name
            cells = found.setdefault(experiment, (_distinct(label, [name for name, _ in found.values()]), set()))[1]
            if cell is not None:
                cells.add(cell)
    shown = [reader.experiment(label, folder, cells) for folder, (label, cells) in found.items()]
    shown = [experiment for experiment in shown if experiment.cells or experiment.clean or experiment.clean_config]
    if not shown and not reader.problems:
        raise invalid("folders", "folders with results of run, train or unlearn", ", ".join(map(str, folders)))
    shown.sort(key=lambda experiment: experiment.label)
    return Gathered(tuple(shown), tuple(dict.fromkeys(reader.problems)), reader.foreign)


def _place(path: Path) -> tuple[Path, Path | None] | None:
    """Experiment folder and cell folder (None for the clean model's files) of a record; None for what is neither."""
    for folder in path.parents[:3]:
        try:
            return layout.parse_cell(folder)[0], folder
        except InputError:
            continue
    return (path.parent.parent, None) if path.parent.name == "clean" else None


def _distinct(label: str, taken: Sequence[str]) -> str:
    label, number, name = printable(label), 1, printable(label)
    while name in taken:
        number += 1
        name = f"{label} ({number})"
    return name


def describe(error: Exception, roots: Sequence[Path]) -> str:
    """Returns an error's message in one line, with paths below roots relative to them: the page may be passed on."""
    text = " ".join(str(error).split())
    for root in sorted(map(str, roots), key=len, reverse=True):
        text = text.replace(f"{root.rstrip('/')}/", "") if root.strip("/") else text
    return printable(text)


class _Reader:
    """Reads files; what cannot be read becomes a problem."""

    def __init__(self, suspects: int, roots: Sequence[Path]) -> None:
        self.problems: list[str] = []
        self.foreign = 0
        self._suspects = suspects
        self._roots = roots

    def problem(self, error: Exception) -> None:
        self.problems.append(describe(error, self._roots))

    def record(self, path: Path, kind: type[R]) -> R | None:
        if not path.is_file():
            return None
        try:
            return read_json(path, kind)
        except (InputError, OSError) as error:
            self.problem(error)
            return None

    def experiment(self, label: str, folder: Path, cells: set[Path]) -> Shown:
        clean, writers = layout.clean_files(folder), find_writers(folder)
        read = {(cell.budget, cell.seed): cell for cell in (self.cell(path, writers) for path in cells)}
        for budget in {budget for budget, _ in read}:
            for seed in {seed for _, seed in read}:
                read.setdefault((budget, seed), _expected(folder, budget, seed))
        return Shown(
            label=label,
            folder=folder,
            clean_config=self.record(clean.config, TrainConfig),
            clean=self.record(clean.results, TrainResults),
            cells=tuple(read[key] for key in sorted(read)),
            writers=writers,
        )

    def cell(self, folder: Path, writers: dict[str, str]) -> Cell:
        experiment, budget, seed = layout.parse_cell(folder)
        files = layout.cell_files(experiment, budget, seed)
        failure = self.record(files.failure, CellFailure)
        failed = {stage.stage for stage in failure.failures} if failure else set()
        training = self.record(files.results, TrainResults)
        inside = sorted(path for path in folder.iterdir() if path.is_dir())
        repairs = [repair for path in inside if (repair := self.repair(path, failed)) is not None]
        complete = training is not None and all(repair.state == "done" for repair in repairs)
        state: State = "done" if complete and not failed else "failed" if failed else "missing"
        if f"budget-{budget}-seed-{seed}" in writers:
            state = "running"
        return Cell(
            budget=budget,
            seed=seed,
            folder=folder,
            state=state,
            train_config=self.record(files.config, TrainConfig),
            poison_config=self.record(files.poison_config, PoisonConfig),
            training=training,
            repairs=tuple(repairs),
            detections=tuple(found for path in inside for found in self.detections(path)),
            failure=failure,
        )

    def repair(self, folder: Path, failed: set[str]) -> Repair | None:
        files = layout.MethodFiles(folder)
        config, results = self.record(files.config, UnlearnConfig), self.results(files.results)
        if config is None and results is None:
            return None
        measure, curves = self.curves(files.solver_log)
        confusions = {}
        if results is not None and results.confusion_after is None:
            for when in ("before", "after"):
                content = self.figure(files.figures / f"confusion_{when}.png")
                if content is not None:
                    confusions[when] = content
        name = printable(folder.name)
        if config is None and results is not None:
            config = results.config
        state: State = "done" if results is not None else "failed" if folder.name in failed else "missing"
        return Repair(name, folder, state, config, results, measure, curves, confusions)

    def results(self, path: Path) -> UnlearningResults | None:
        if not path.is_file():
            return None
        try:
            content = read_raw(path)
            if published_kind(content, UnlearningResults):
                self.foreign += 1
                return None
            found = parse_record(path, content, UnlearningResults)
            _, budget, seed = layout.parse_cell(path.parent.parent)
            if (found.budget, found.seed) != (budget, seed):
                raise InputError(f"{path} is of budget {found.budget}, seed {found.seed}: it was moved or changed.")
        except (InputError, OSError) as error:
            self.problem(error)
            return None
        return found

    def curves(self, path: Path) -> tuple[str, tuple[Curve, ...]]:
        rows = self.csv(path)
        measure = next((name for name in _MEASURES if rows and name in rows[0]), "")
        if not measure:
            return "", ()
        groups: dict[tuple[str, str], list[tuple[int, float]]] = {}
        for row in rows:
            name = " ".join(part for part in (row.get("stage"), f"step {row.get('step', '')}") if part)
            for column in (measure, measure + _DAMPED):
                try:
                    point = int(row["iteration"]), float(row[column])
                except (KeyError, TypeError, ValueError):  # a column that another stage of a chain does not have
                    continue
                if math.isfinite(point[1]):
                    groups.setdefault((printable(name), column), []).append(point)
        curves = []
        for (name, column), points in list(groups.items())[:_MOST_CURVES]:
            chosen = np.unique(np.linspace(0, len(points) - 1, _MOST_POINTS).round().astype(int))
            iterations, values = zip(*(points[i] for i in chosen), strict=True)
            rounded = tuple(float(f"{value:.3g}") for value in values)
            curves.append(Curve(name, column != measure, iterations, rounded))
        return measure, tuple(curves)

    def detections(self, folder: Path) -> Iterator[Detected]:
        """Those of a cell's own folder `detect-...`, or the records in a folder of the user's."""
        own = layout.DetectionFiles(folder)
        if own.results.is_file():
            yield from self.detection(folder.name, own.results, own.suspects, own.figure)
        elif not layout.MethodFiles(folder).config.is_file():
            for path in sorted(folder.glob("*.json")):
                yield from self.detection(path.stem, path, path.with_suffix(".csv"), path.with_suffix(".png"))

    def detection(self, name: str, record: Path, suspects: Path, figure: Path) -> Iterator[Detected]:
        results = self.record(record, DetectionResults)
        if results is None:
            return
        rows: list[Suspect] = []
        for row in self.csv(suspects):
            try:
                corrected = row["corrected_label"]
                rows.append(
                    Suspect(
                        int(row["row"]),
                        int(row["given_label"]),
                        int(row["suggested_label"]),
                        int(corrected) if corrected else None,
                        float(row["score"]),
                    )
                )
            except (KeyError, TypeError, ValueError):
                self.problem(InputError(f"{suspects} is not a list of suspects."))
                rows = []
                break
        scores = np.array([row.score for row in rows])
        scores = scores[np.isfinite(scores)]
        counts, edges = np.histogram(scores, _BINS) if len(scores) else (np.empty(0), np.empty(0))
        rows.sort(key=lambda row: -row.score)
        yield Detected(
            printable(name),
            results,
            tuple(rows[: self._suspects]),
            tuple(int(n) for n in counts),
            tuple(float(f"{edge:.6g}") for edge in edges),
            self.figure(figure),
        )

    def csv(self, path: Path) -> list[dict[str, str]]:
        if not path.is_file():
            return []
        try:
            if path.stat().st_size > _LARGEST_LOG:
                raise invalid(path.name, f"at most {_LARGEST_LOG} bytes", f"{path.stat().st_size} bytes")
            return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
        except (OSError, ValueError, csv.Error) as error:
            self.problem(InputError(f"Cannot read {path}: {error}"))
            return []

    def figure(self, path: Path) -> bytes | None:
        try:
            return path.read_bytes() if path.is_file() and path.stat().st_size <= _LARGEST_FIGURE else None
        except OSError as error:
            self.problem(error)
            return None


def _expected(experiment: Path, budget: int, seed: int) -> Cell:
    """A cell that other budgets and seeds of the experiment let expect."""
    folder = layout.cell_files(experiment, budget, seed).folder
    return Cell(budget, seed, folder, "missing", None, None, None, (), (), None)


def count_cells(gathered: Gathered) -> dict[State, int]:
    """Returns the number of cells in each state."""
    states = [cell.state for shown in gathered.experiments for cell in shown.cells]
    return {state: states.count(state) for state in get_args(State)}


def headline(experiment: Shown) -> list[dict[str, Any]]:
    """Means over seeds, a row for each budget and repair.

    Args:
        experiment: The experiment.

    Returns:
        Rows with `budget`, `name`, `method`, `seeds`, `control`, `best`, and `(mean, std)` under `clean`, `before`,
        `after`, `restored` (fractions) and `seconds`; the best of a budget is the one, of those that are no controls,
        whose mean accuracy is highest.
    """
    from unlearning.experiments.results.compare import mean_std

    groups: dict[tuple[int, str], list[UnlearningResults]] = {}
    for cell, repair, results in experiment.repairs():
        groups.setdefault((cell.budget, repair.name), []).append(results)
    rows: list[dict[str, Any]] = []
    for (budget, name), found in sorted(groups.items()):
        rows.append(
            {
                "budget": budget,
                "name": name,
                "method": found[0].method,
                "seeds": len(found),
                "control": is_control(found[0].method),
                "clean": mean_std([r.acc_clean for r in found]),
                "before": mean_std([r.acc_before_fix for r in found]),
                "after": mean_std([r.acc_after_fix for r in found]),
                "restored": mean_std([r.acc_perc_restored for r in found if r.acc_perc_restored is not None]),
                "seconds": mean_std([r.unlearning_duration_s for r in found]),
            }
        )
    for row in rows:
        rivals = [other["after"][0] for other in rows if other["budget"] == row["budget"] and not other["control"]]
        row["best"] = not row["control"] and row["after"][0] == max(rivals)
    return rows


def is_control(method: str) -> bool:
    """Whether a method is a control: what trains again, wholly or in part."""
    return method.startswith(("retraining", "fine-tuning", "sharding"))
