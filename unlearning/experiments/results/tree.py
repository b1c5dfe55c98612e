"""What experiment folders hold. Records are read when they are first asked for, each once."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from unlearning.errors import InputError, printable
from unlearning.experiments.cell import folder as layout
from unlearning.files import read_below
from unlearning.links import real_below, real_path
from unlearning.methods.described import label
from unlearning.records import (
    CellFailure,
    DetectionResults,
    FeatureResults,
    PoisonConfig,
    TrainConfig,
    TrainResults,
    UnlearnConfig,
    UnlearningResults,
    parse_record,
    read_raw,
)
from unlearning.records.base import LARGEST_FILE
from unlearning.records.reference import ReferenceResults, ReferenceTraining, is_reference
from unlearning.records.validation import Problem

R = TypeVar("R", bound=BaseModel)
S = TypeVar("S", bound=BaseModel)


class Files:
    """Reads records, each once. What cannot be read becomes a problem, or an `InputError` where it is strict."""

    def __init__(self, strict: bool = False) -> None:
        self.strict = strict
        self.reached: dict[Path, Path] = {}
        """How the files found were reached from the folder given, by their real paths."""
        self.foreign: set[Path] = set()
        """Records of the published implementation that were read."""
        self.roots: set[Path] = set()
        """The folders given and the experiments found; nothing is read outside of them, or through a link in them."""
        self._raw: dict[Path, Any] = {}
        self._read: dict[tuple[Path, type[BaseModel]], BaseModel | None] = {}
        self._problems: dict[tuple[str, str, str], Problem] = {}

    @property
    def problems(self) -> list[Problem]:
        """What was wrong with what was read so far, by path."""
        return [self._problems[key] for key in sorted(self._problems)]

    def problem(self, path: Path, kind: str, message: str) -> None:
        """Notes what is wrong with a file."""
        shown = self.reached.get(_key(path), path)
        found = Problem.model_validate(
            {"path": printable(shown.as_posix()), "kind": kind, "message": printable(message)}
        )
        self._problems[found.path, found.kind, found.message] = found

    def fail(self, path: Path, kind: str, error: Exception) -> None:
        """Notes an error as a problem, or raises it where this is strict."""
        if self.strict:
            raise error if isinstance(error, InputError) else InputError(f"Cannot read {path}: {error}") from error
        self.problem(path, kind, reason(error, path))

    def real(self, path: Path) -> Path:
        """Returns a path that may be read; raises `InputError` for links and what is no file, see `real_below`."""
        around = [root for root in self.roots if path.is_relative_to(root)]
        return real_below(max(around, key=lambda root: len(root.parts), default=path.parent), path)

    def raw(self, path: Path) -> Any:
        """Returns the JSON in a file, or None where it is missing or cannot be read."""
        key = _key(path)
        if key not in self._raw:
            self._raw[key] = None
            try:
                real = self.real(path)
            except InputError as error:
                self.fail(path, "path", error)
                return None
            try:
                if real.exists():
                    self._raw[key] = read_raw(path)
                    if self._raw[key] is None:
                        raise InputError(f"{path} holds nothing but null.")
            except (InputError, OSError) as error:
                self.fail(path, "record", error)
        return self._raw[key]

    def record(self, path: Path, kind: type[R]) -> R | None:
        """Returns a record, or None where it is missing or damaged."""
        key = _key(path), kind
        if key not in self._read:
            self._read[key] = None
            content = self.raw(path)
            if content is not None:
                try:
                    self._read[key] = parse_record(path, content, kind)
                except InputError as error:
                    self.fail(path, "record", error)
        found = self._read[key]
        return found if isinstance(found, kind) else None

    def config(self, path: Path, kind: type[R]) -> R | None:
        """As `record`; None for a configuration of the published implementation, too, which names its file."""
        content = self.raw(path)
        return None if isinstance(content, dict) and "_filename" in content else self.record(path, kind)

    def results(self, path: Path, kind: type[R], reference: type[S]) -> R | S | None:
        """As `record`, of either program."""
        if not is_reference(self.raw(path)):
            return self.record(path, kind)
        self.foreign.add(_key(path))
        return self.record(path, reference)

    def content(self, path: Path, kind: str, limit: int = LARGEST_FILE) -> bytes | None:
        """Returns a whole log (`kind` is then `log`) or picture (`figure`), or None where there is none to be read."""
        try:
            real = self.real(path)
            return read_below(real.parent, real, limit) if real.exists() else None
        except (InputError, OSError) as error:
            self.fail(path, kind, error)
            return None


def _key(path: Path) -> Path:
    """What tells files apart, however they are reached; a link, even one to itself, is a file of its own."""
    return Path(os.path.realpath(path.parent), path.name)


def reason(error: Exception, path: Path) -> str:
    """The message of an error without the path, which stands beside it."""
    text = " ".join(str(error).split()).replace(f"{path} ", "").replace(str(path), path.name)
    return text if len(text) <= 300 else f"{text[:297]}..."


@dataclasses.dataclass(frozen=True)
class Training:
    """A trained model: the clean one of a seed, or the poisoned one of a cell.

    Attributes:
        layout: Its files.
        read: What reads them.
    """

    layout: layout.TrainedFiles
    read: Files = dataclasses.field(repr=False)

    @property
    def config(self) -> TrainConfig | None:
        """How it was trained."""
        return self.read.config(self.layout.config, TrainConfig)

    @property
    def poison_config(self) -> PoisonConfig | None:
        """How its labels were corrupted; None for a clean model."""
        return self.read.config(self.layout.poison_config, PoisonConfig)

    @property
    def results(self) -> TrainResults | ReferenceTraining | None:
        """Its scores."""
        return self.read.results(self.layout.results, TrainResults, ReferenceTraining)


@dataclasses.dataclass(frozen=True)
class Repair:
    """One repair of a cell, finished or not.

    Attributes:
        experiment: The experiment's label.
        budget: The cell's budget.
        seed: The cell's seed.
        name: The method's folder: method and variant.
        folder: Where it is, as reached.
        training: The poisoned model it starts from.
        read: What reads its files.
    """

    experiment: str
    budget: int
    seed: int
    name: str
    folder: Path
    training: Training = dataclasses.field(repr=False)
    read: Files = dataclasses.field(repr=False)

    @property
    def layout(self) -> layout.MethodFiles:
        """Its files, such as the logs `step_log` and `solver_log`."""
        return layout.MethodFiles(self.folder)

    @property
    def config(self) -> UnlearnConfig | None:
        """How it was made."""
        return self.read.config(self.layout.config, UnlearnConfig)

    @property
    def results(self) -> UnlearningResults | ReferenceResults | None:
        """Its scores, ours or the published implementation's; None where it is unfinished or they are damaged."""
        path = self.layout.results
        found = self.read.results(path, UnlearningResults, ReferenceResults)
        if isinstance(found, UnlearningResults) and (found.budget, found.seed) != (self.budget, self.seed):
            moved = f"{path} is of budget {found.budget}, seed {found.seed}: it was moved or changed."
            self.read.fail(path, "path", InputError(moved))
            return None
        return found

    @property
    def ours(self) -> UnlearningResults | None:
        """Its scores, if this program made them."""
        results = self.results
        return results if isinstance(results, UnlearningResults) else None

    @property
    def label(self) -> str:
        """What tables and figures call it: its name, with what that meant in an earlier version."""
        found = self.ours
        return self.name if found is None else label(self.name, found.method, found.config.hyperparameters)

    @property
    def features(self) -> FeatureResults | None:
        """Where rows lie in feature space, where that was measured."""
        return self.read.record(self.layout.figures / "features.json", FeatureResults)

    @property
    def figures(self) -> tuple[Path, ...]:
        """Its pictures, by name."""
        folder = self.layout.figures
        try:
            self.read.real(folder)
        except InputError as error:
            self.read.fail(folder, "path", error)
            return ()
        return tuple(sorted(path for path in folder.glob("*.png") if not path.is_symlink()))


@dataclasses.dataclass(frozen=True)
class Detection:
    """One detection in a cell.

    Attributes:
        name: Its folder or, in a folder of the user's, its file.
        record: Its record.
        suspects: CSV of the suspects; may be missing.
        figure: Picture of the scores; may be missing.
        read: What reads them.
    """

    name: str
    record: Path
    suspects: Path
    figure: Path
    read: Files = dataclasses.field(repr=False)

    @property
    def results(self) -> DetectionResults | None:
        """What was found; None also where a file of the user's is none of a detection."""
        content = self.read.raw(self.record)
        own = self.record.name == layout.DetectionFiles(self.record.parent).results.name
        if not own and not (isinstance(content, dict) and "detector" in content):
            return None
        return self.read.record(self.record, DetectionResults)


@dataclasses.dataclass(frozen=True)
class Cell:
    """One budget and seed.

    Attributes:
        experiment: The experiment's label.
        budget: Its budget.
        seed: Its seed.
        folder: Where it is.
        training: Its poisoned model.
        repairs: Its repairs, by name.
        detections: Its detections, by name.
        read: What reads its files.
    """

    experiment: str
    budget: int
    seed: int
    folder: Path
    training: Training
    repairs: tuple[Repair, ...]
    detections: tuple[Detection, ...]
    read: Files = dataclasses.field(repr=False)

    @property
    def failure(self) -> CellFailure | None:
        """What went wrong, where something did."""
        return self.read.record(self.training.layout.failure, CellFailure)


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One experiment folder.

    Attributes:
        label: Its name, unlike that of all others; no absolute path.
        name: Its name without what makes it unlike others.
        folder: Where it is.
        clean: Its clean models by the seed of the cells that are compared with them: for every seed that has a cell
            or a clean model. Where all seeds share one, it is the same for all.
        cells: Its cells, by budget and seed.
    """

    label: str
    name: str
    folder: Path
    clean: dict[int, Training]
    cells: tuple[Cell, ...]


@dataclasses.dataclass(frozen=True)
class Tree:
    """Everything below some folders.

    Attributes:
        experiments: The experiments, by label.
        files: Every real file, with the folder it was found below.
        read: What reads records.
    """

    experiments: tuple[Experiment, ...]
    files: tuple[tuple[Path, Path], ...]
    read: Files = dataclasses.field(repr=False)

    @property
    def problems(self) -> list[Problem]:
        """What was wrong with what was read so far, by path."""
        return self.read.problems

    @property
    def foreign(self) -> int:
        """Number of results of the published implementation among what was read so far."""
        return len(self.read.foreign)

    def cells(self) -> Iterator[Cell]:
        """Yields all cells."""
        for experiment in self.experiments:
            yield from experiment.cells

    def repairs(self) -> list[Repair]:
        """Returns all repairs that have results, by experiment, budget, seed and name."""
        return [repair for cell in self.cells() for repair in cell.repairs if repair.results is not None]

    def trainings(self) -> list[Training]:
        """Returns all trained models that have results, clean ones first, then by path; in any folder."""
        paths = [path for path, _ in self.files if path.name == layout.clean_files(path, None).results.name]
        models = [Training(layout.TrainedFiles(path.parent, ""), self.read) for path in paths]
        models.sort(key=lambda model: (not _is_clean(model.layout.folder), model.layout.folder))
        return [model for model in models if model.results is not None]


def _is_clean(folder: Path) -> bool:
    real = real_path(folder)
    return layout.parse_clean(real) is not None or real == layout.clean_files(real.parent, None).folder
