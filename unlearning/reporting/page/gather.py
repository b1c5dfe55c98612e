"""Reading what the report page shows. Nothing is computed anew, written or locked.

A folder may be reported while a sweep fills it, and one damaged file must not hide all others: what cannot be read
becomes a line under `problems`.
"""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from unlearning.errors import InputError, printable
from unlearning.experiments.cell import folder as layout
from unlearning.experiments.grid.locks import find_writers
from unlearning.experiments.results import tree
from unlearning.experiments.results.reader import read_folders
from unlearning.files import read_table
from unlearning.links import real_path
from unlearning.records import DetectionResults, TrainResults
from unlearning.records.reference import ReferenceResults
from unlearning.records.validation import Problem
from unlearning.reporting.page.shown import Cell, Curve, Detected, Gathered, OwnFiles, Repair, Shown, State, Suspect
from unlearning.reporting.solves import Solve, read_solves, whole

_LARGEST_FIGURE = 4 * 2**20
_MOST_POINTS = 100  # of a curve; more cannot be told apart on a screen
_MOST_CURVES = 24
_BINS = 40
_MOST_MISSING = 1000  # cells; folders that are no grid would have more than can be shown


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
    found = read_folders(folders)
    gatherer = _Gatherer(suspects)
    shown: list[Shown] = []
    for experiment in found.experiments:
        one = gatherer.experiment(experiment)
        if one.cells or one.clean or one.clean_configs:
            shown.append(one)
    roots = [root for folder in folders for root in (real_path(folder).parent, folder.parent)]
    own = tuple(gatherer.own(one) for one in found.own())
    # That a record contradicts itself is for `validate` to say; it can be shown.
    problems = [_join(one) for one in found.problems if one.kind != "disagreement"] + gatherer.problems
    lines = sorted({shorten_paths(text, roots) for text in problems})
    if not shown and not own and not lines:
        raise InputError(
            "folders", "folders with results of run, unlearn, repair or detect", ", ".join(map(str, folders))
        )
    return Gathered(tuple(shown), tuple(lines), found.foreign, own, _dates(shown))


def shorten_paths(text: str, roots: Sequence[Path]) -> str:
    """Returns a message on one line, with paths below roots relative to them: the page may be passed on."""
    text = " ".join(text.split())
    for root in sorted(map(str, roots), key=len, reverse=True):
        text = text.replace(f"{root.rstrip('/')}/", "") if root.strip("/.") else text
    return printable(text)


def _join(found: Problem) -> str:
    """A problem with its path: `<path> is no ...`, or `<path>: Invalid ...`."""
    return f"{found.path}{': ' if found.message[:1].isupper() else ' '}{found.message}"


class _Gatherer:
    """Adds logs, lists and pictures to what the reader of folders found; what cannot be read becomes a problem."""

    def __init__(self, suspects: int) -> None:
        self.problems: list[str] = []
        self._suspects = suspects

    def experiment(self, found: tree.Experiment) -> Shown:
        writers = find_writers(found.folder, lambda path, message: self._note(path, message))
        cells = {(cell.budget, cell.seed): self._cell(cell, writers) for cell in found.cells}
        budgets, seeds = ({cell[i] for cell in cells} for i in (0, 1))
        missing = len(budgets) * len(seeds) - len(cells)
        if missing > _MOST_MISSING:
            self._note(
                found.folder, f"is no grid: {missing} cells of its budgets and seeds are missing; none is listed"
            )
        else:
            for budget, seed in itertools.product(budgets, seeds):
                files = layout.cell_files(found.folder, budget, seed)
                cells.setdefault((budget, seed), Cell(budget, seed, files, "missing"))
        return Shown(
            label=found.label,
            folder=found.folder,
            clean_configs=tuple(model.config for model in found.clean.values() if model.config is not None),
            clean={seed: own for seed, model in found.clean.items() if (own := _own(model)) is not None},
            cells=tuple(cells[key] for key in sorted(cells)),
            writers=writers,
        )

    def _cell(self, cell: tree.Cell, writers: dict[str, str]) -> Cell:
        failed = {stage.stage for stage in cell.failure.failures} if cell.failure else set()
        training = _own(cell.training)
        foreign = ReferenceResults
        repairs = [self._repair(found, failed) for found in cell.repairs if not isinstance(found.results, foreign)]
        complete = training is not None and all(repair.state == "done" for repair in repairs)
        state: State = "failed" if failed else "done" if complete else "missing"
        return Cell(
            budget=cell.budget,
            seed=cell.seed,
            files=cell.training.layout,
            state="running" if f"budget-{cell.budget}-seed-{cell.seed}" in writers else state,
            train_config=cell.training.config,
            poison_config=cell.training.poison_config,
            training=training,
            repairs=tuple(repairs),
            detections=tuple(
                self._detection(found, results) for found in cell.detections if (results := found.results) is not None
            ),
            failure=cell.failure,
            epochs=self._epochs(cell.training),
        )

    def _epochs(self, training: tree.Training) -> tuple[tuple[float, float, float], ...]:
        path = training.layout.log
        try:
            rows = read_table(training.read.real(path))
            found = [(whole(row["epoch"]), float(row["accuracy"]), float(row["loss"])) for row in rows]
        except (InputError, OSError) as error:
            self._note(path, str(error))
            return ()
        except (KeyError, ValueError):  # a log of another program, or cut off while it was written
            return ()
        kept = [found[i] for i in _thinned(len(found))]
        return tuple(row for row in kept if np.isfinite(row).all())

    def _repair(self, found: tree.Repair, failed: set[str]) -> Repair:
        results = found.ours
        solves = self._solves(found)
        confusions = {}
        if results is not None and results.confusion_after is None:
            for when in ("before", "after"):
                path = found.layout.figures / f"confusion_{when}.png"
                content = found.read.content(path, "figure", _LARGEST_FIGURE)
                if content is not None:
                    confusions[when] = content
        unfinished: State = "failed" if found.layout.folder.name in failed else "missing"
        return Repair(
            name=found.name,
            label=found.label,
            files=found.layout,
            state=unfinished if results is None else "done",
            config=results.config if found.config is None and results is not None else found.config,
            results=results,
            measure=solves[0].measure if solves else "",
            curves=tuple(map(_thin, solves[:_MOST_CURVES])),
            confusions=confusions,
        )

    def _solves(self, found: tree.Repair) -> list[Solve]:
        path = found.layout.solver_log
        try:
            return read_solves(found.read.real(path))
        except (InputError, OSError) as error:
            self._note(path, str(error))
            return []

    def _note(self, path: Path, message: str) -> None:
        self.problems.append(message if str(path) in message else f"{path} {message}")

    def _detection(self, found: tree.Detection, results: DetectionResults) -> Detected:
        rows = self._suspect_rows(found)
        counts, edges = _histogram(np.array([row.score for row in rows]))
        rows.sort(key=lambda row: -row.score)
        return Detected(
            name=found.name,
            results=results,
            suspects=tuple(rows[: self._suspects]),
            counts=tuple(int(n) for n in counts),
            edges=tuple(float(f"{edge:.6g}") for edge in edges),
            figure=found.read.content(found.figure, "figure", _LARGEST_FIGURE),
        )

    def own(self, found: tree.Own) -> OwnFiles:
        rows = self._suspect_rows(found) if found.suspects.is_file() else []
        rows = sorted((row for row in rows if row.suspect), key=lambda row: -row.score)
        return OwnFiles(found, tuple(rows), found.read.content(found.figure, "figure", _LARGEST_FIGURE))

    def _suspect_rows(self, found: tree.Detection | tree.Own) -> list[Suspect]:
        path = found.suspects
        try:
            return [_parse_suspect(row) for row in read_table(found.read.real(path))]
        except (InputError, OSError) as error:
            self._note(path, str(error))
        except (KeyError, ValueError):
            self._note(path, "is not a list of suspects.")
        return []


def _own(training: tree.Training) -> TrainResults | None:
    """A model's scores, where they are this program's."""
    return training.results if isinstance(training.results, TrainResults) else None


def _parse_suspect(row: dict[str, str]) -> Suspect:
    corrected = row["corrected_label"]
    return Suspect(
        row=whole(row["row"]),
        given=whole(row["given_label"]),
        suggested=whole(row["suggested_label"]),
        corrected=whole(corrected) if corrected else None,
        score=float(row["score"]),
        suspect=row.get("suspect", "1") != "0",
    )


def _histogram(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows by score, and the edges of the bins; one bin for scores that are nearly equal, or too far apart."""
    scores = scores[np.isfinite(scores)]
    if not len(scores):
        return np.empty(0), np.empty(0)
    with np.errstate(all="ignore"):
        try:
            return np.histogram(scores, _BINS)
        except ValueError:
            return np.array([len(scores)]), np.array([scores.min(), scores.max()])


def _thinned(count: int) -> list[int]:
    """Positions of at most so many points as a screen can show."""
    return np.unique(np.linspace(0, count - 1, _MOST_POINTS).round().astype(int)).tolist() if count else []


def _dates(experiments: Sequence[Shown]) -> tuple[str, ...]:
    """The first and the last day on which a result was written, as far as files say."""
    paths = [repair.files.results for shown in experiments for _, repair, _ in shown.repairs()]
    times = sorted(path.stat().st_mtime for path in paths if path.is_file())
    days = [datetime.datetime.fromtimestamp(time, datetime.UTC).date().isoformat() for time in times]
    return tuple(dict.fromkeys((days[0], days[-1]))) if days else ()


def _thin(solve: Solve) -> Curve:
    chosen = _thinned(len(solve.values))
    values = tuple(float(f"{solve.values[i]:.3g}") for i in chosen)
    return Curve(printable(solve.name), solve.damped, tuple(solve.iterations[i] for i in chosen), values)
