"""The one reader of experiment folders.

A folder may be read while a sweep fills it, and one damaged file must not hide all others: what cannot be read becomes
a problem, or, where the caller is `strict`, an error. Only real files are read: no links, nothing in hidden folders,
nothing larger than a record or a table ever is. Records are read once; weights, arrays, logs and pictures are named,
not read (`read_table` reads a log).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar, cast

from pydantic import BaseModel

from unlearning.errors import InputError, printable
from unlearning.experiments.cell import folder as layout
from unlearning.experiments.results.places import find_cell, find_files, known_names, walk_files
from unlearning.experiments.results.tree import Cell, Detection, Experiment, Found, Repair, Training, Tree
from unlearning.files import open_csv
from unlearning.records import (
    KINDS,
    CellFailure,
    DetectionResults,
    FeatureResults,
    PoisonConfig,
    RepairResults,
    TrainConfig,
    TrainResults,
    UnlearnConfig,
    UnlearningResults,
    parse_record,
    read_raw,
)
from unlearning.records.contradictions import contradictions
from unlearning.records.reference import ReferenceResults, ReferenceTraining, published_kind

LARGEST_TABLE = 64 * 2**20
"""Most bytes of a log or a list of suspects."""

R = TypeVar("R", bound=BaseModel)


def read_folders(folders: Sequence[Path], *, strict: bool = False) -> Tree:
    """Reads every record below folders.

    Args:
        folders: Folders of any level: several experiments, one, a cell, or a method. Configurations and trainings of
            their cells and experiments are read, too, where they stand above.
        strict: Raise at the first record that is damaged, or that does not belong where it stands.

    Returns:
        What is there; each file counts once. May be empty.

    Raises:
        InputError: If a folder is missing, or as `strict` says.
    """
    for root in folders:
        if not root.is_dir():
            raise InputError(f"There is no folder {root}.")
    reader = _Reader(strict)
    for root in folders:
        for path in walk_files(root):
            if path.suffix == ".json":
                reader.see(path, root)
    return reader.tree()


def read_table(path: Path) -> list[dict[str, str]]:
    """Reads a log or a list of suspects.

    Args:
        path: The CSV file.

    Returns:
        Its rows, or none where there is no such file.

    Raises:
        InputError: If it is damaged, or larger than `LARGEST_TABLE`.
    """
    if not path.is_file():
        return []
    with open_csv(path.name, path, LARGEST_TABLE) as rows:
        return list(rows)


def describe_problem(error: Exception, path: Path) -> str:
    """Returns an error's message on one line, without the path that stands beside it."""
    text = " ".join(str(error).split()).replace(f"{path} ", "").replace(str(path), path.name)
    return text if len(text) <= 300 else f"{text[:297]}..."


class _Reader:
    """The state of one reading; keys are where files and folders really stand."""

    def __init__(self, strict: bool) -> None:
        self._strict = strict
        self._problems: dict[Found, None] = {}
        self._records: dict[Path, BaseModel | None] = {}
        self._own: dict[Path, DetectionResults | RepairResults] = {}
        self._paths: dict[Path, Path] = {}
        self._labels: dict[Path, str] = {}
        self._cells: dict[Path, set[Path]] = {}

    def see(self, path: Path, root: Path) -> None:
        """Reads one JSON file and notes what it belongs to."""
        there = path.parent.resolve() / path.name
        if there in self._paths:
            return
        self._paths[there] = path
        kind, files = KINDS.get(path.stem), find_files(path.parent)
        cell = find_cell(there.parent)
        if kind is None:
            if files is None or path.name not in known_names(files):
                self._see_own(path)
                if path in self._own and cell is not None:
                    self._note(cell, root).add(there)
            return
        picture = kind is FeatureResults and path.parent.name == "figures"
        if not picture and (files is None or path.name not in known_names(files)):
            expected = "clean/, budget-<B>/seed-<S>/ or budget-<B>/seed-<S>/<method>/, whichever is its own"
            error = InputError(f"{path} does not stand in {expected}.")
            self._problem(path, "path", error, stray=kind is not UnlearningResults)
            self._record(path, kind, stray=True)
            return
        if cell is not None:
            self._note(cell, root).add(there)
        elif not picture:
            self._experiment(there.parent.parent, root)
        self._record(path, kind)

    def tree(self) -> Tree:
        """Returns everything that was seen, in order."""
        experiments = [self._read_experiment(folder) for folder in self._labels]
        return Tree(
            experiments=tuple(sorted(experiments, key=lambda found: (found.label, str(found.folder)))),
            problems=tuple(sorted(self._problems, key=lambda found: (found.path, found.kind, found.message))),
            records={path: record for path, record in self._records.items() if record is not None},
            own=self._own,
            paths=self._paths,
        )

    def _experiment(self, folder: Path, root: Path) -> None:
        if folder not in self._labels:
            above = root.resolve()
            inside = folder.is_relative_to(above)
            label = Path(above.name, folder.relative_to(above)) if inside else Path(folder.name)
            self._labels[folder] = printable(label.as_posix())

    def _note(self, cell: Path, root: Path) -> set[Path]:
        """The files seen in a cell, for adding one."""
        self._experiment(layout.parse_cell(cell)[0], root)
        return self._cells.setdefault(cell, set())

    def _see_own(self, path: Path) -> None:
        """Reads the record of `repair` or `detect`, which stands beside a user's file and is told by its content."""
        try:
            content = read_raw(path)
        except (InputError, OSError) as error:
            self._problem(path, "record", error, stray=True)
            return
        keys = set(content) if isinstance(content, dict) else set()
        kind = DetectionResults if "detector" in keys else RepairResults if "flagged_rows" in keys else None
        if kind is None:
            return
        record = self._record(path, kind)
        if record is not None:
            self._own[path] = cast(DetectionResults | RepairResults, record)

    def _record(self, path: Path, kind: type[R], *others: type[BaseModel], stray: bool = False) -> R | None:
        """Reads a record, once; None where there is none, a damaged one, or one of neither kind."""
        there = path.parent.resolve() / path.name
        if there not in self._records:
            self._records[there] = self._read(self._paths.get(there, path), kind, stray)
        found = self._records[there]
        return cast(R, found) if isinstance(found, (kind, *others)) else None

    def _read(self, path: Path, kind: type[BaseModel], stray: bool) -> BaseModel | None:
        if not path.is_file() or path.is_symlink():
            return None
        try:
            content = read_raw(path)
            record = parse_record(path, content, published_kind(content, kind) or kind)
        except (InputError, OSError) as error:
            self._problem(path, "record", error, stray)
            return None
        for message in contradictions(record):
            self._problems[Found(path, "disagreement", message)] = None
        return record

    def _problem(self, path: Path, kind: str, error: Exception, stray: bool = False) -> None:
        if self._strict and not stray:
            raise error if isinstance(error, InputError) else InputError(f"Cannot read {path}: {error}")
        self._problems[Found(path, kind, describe_problem(error, path))] = None

    def _read_experiment(self, folder: Path) -> Experiment:
        cells = [self._read_cell(cell) for cell in self._cells if layout.parse_cell(cell)[0] == folder]
        cells.sort(key=lambda cell: (cell.budget, cell.seed))
        clean = self._read_training(layout.clean_files(folder), clean=True)
        return Experiment(self._labels[folder], folder, clean, tuple(cells))

    def _read_training(self, files: layout.TrainedFiles, *, clean: bool = False) -> Training:
        results = self._record(files.results, TrainResults, ReferenceTraining)
        config = self._record(files.config, TrainConfig)
        poison = None if clean else self._record(files.poison_config, PoisonConfig)
        return Training(files, config, poison, results)

    def _read_cell(self, folder: Path) -> Cell:
        _, budget, seed = layout.parse_cell(folder)
        files = layout.TrainedFiles(folder, "poisoned_model.keras")
        inside = {path.relative_to(folder).parts[0] for path in self._cells[folder] if path.parent != folder}
        repairs = [self._read_repair(layout.MethodFiles(folder / name), budget, seed) for name in sorted(inside)]
        return Cell(
            budget=budget,
            seed=seed,
            folder=folder,
            training=self._read_training(files),
            repairs=tuple(repair for repair in repairs if repair is not None),
            detections=tuple(self._read_detections(folder)),
            failure=self._record(files.failure, CellFailure),
        )

    def _read_repair(self, files: layout.MethodFiles, budget: int, seed: int) -> Repair | None:
        if files.results not in self._paths and files.config not in self._paths:
            return None
        config = self._record(files.config, UnlearnConfig)
        results = self._record(files.results, UnlearningResults, ReferenceResults)
        if isinstance(results, UnlearningResults) and (results.budget, results.seed) != (budget, seed):
            path = self._paths.get(files.results, files.results)
            moved = f"{path} is of budget {results.budget}, seed {results.seed}: it was moved or changed."
            self._problem(path, "path", InputError(moved))
            results = None
        return Repair(
            name=printable(files.folder.name),
            files=files,
            config=config,
            results=results,
            features=self._record(files.figures / "features.json", FeatureResults),
            figures=tuple(p for p in walk_files(files.figures) if p.suffix == ".png"),
        )

    def _read_detections(self, folder: Path) -> list[Detection]:
        found = []
        for path in sorted(self._cells[folder]):
            results = self._records.get(path)
            if not isinstance(results, DetectionResults):
                continue
            files = find_files(path.parent)
            if isinstance(files, layout.DetectionFiles):
                name, suspects, figure = path.parent.name, files.suspects, files.figure
            else:
                name, suspects, figure = path.stem, path.with_suffix(".csv"), path.with_suffix(".png")
            found.append(Detection(printable(name), path, suspects, figure, results))
        return found
