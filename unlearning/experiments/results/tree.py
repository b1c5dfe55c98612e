"""What stands in experiment folders, as `reader.read_folders` returns it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from unlearning.experiments.cell import folder as layout
from unlearning.records import (
    CellFailure,
    DetectionResults,
    FeatureResults,
    PoisonConfig,
    RepairResults,
    TrainConfig,
    TrainResults,
    UnlearnConfig,
    UnlearningResults,
)
from unlearning.records.reference import ReferenceResults, ReferenceTraining

R = TypeVar("R", bound=BaseModel)


@dataclasses.dataclass(frozen=True)
class Found:
    """One thing that is wrong with a file.

    Attributes:
        path: The file, as reached from the folder given.
        kind: `record` (not what its name says), `path` (it does not belong where it stands), or `disagreement` (with
            its own numbers).
        message: What is wrong, without the path.
    """

    path: Path
    kind: str
    message: str


@dataclasses.dataclass(frozen=True)
class Training:
    """One trained model: the clean one of an experiment, or the poisoned one of a cell.

    Attributes:
        files: Where its files are.
        config: How it was trained, or None.
        poison: How its labels were corrupted; None for the clean model.
        results: Its scores, ours or the published implementation's, or None.
    """

    files: layout.TrainedFiles
    config: TrainConfig | None
    poison: PoisonConfig | None
    results: TrainResults | ReferenceTraining | None


@dataclasses.dataclass(frozen=True)
class Repair:
    """One repair of a cell.

    Attributes:
        name: Its folder: method and variant, printable.
        files: Where its files are; logs and weights are not read.
        config: Its configuration, or None.
        results: Its scores, ours or the published implementation's; None where it is unfinished, or its record is
            damaged or of another cell.
        features: Where its rows lie in feature space, or None.
        figures: The pictures in its `figures/`.
    """

    name: str
    files: layout.MethodFiles
    config: UnlearnConfig | None
    results: UnlearningResults | ReferenceResults | None
    features: FeatureResults | None
    figures: tuple[Path, ...]


@dataclasses.dataclass(frozen=True)
class Detection:
    """One detection of a cell: its own folder `detect-...`, or a record that the user put somewhere into the cell.

    Attributes:
        name: Its folder, or the name of its record; printable.
        record: The record's file.
        suspects: The list of suspects beside it; may be missing.
        figure: The picture of the scores beside it; may be missing.
        results: What was found.
    """

    name: str
    record: Path
    suspects: Path
    figure: Path
    results: DetectionResults


@dataclasses.dataclass(frozen=True)
class Cell:
    """One budget and seed.

    Attributes:
        budget: Its budget.
        seed: Its seed.
        folder: Where it is.
        training: Its poisoned model.
        repairs: Its repairs, by name.
        detections: Its detections, by name.
        failure: What went wrong, or None.
    """

    budget: int
    seed: int
    folder: Path
    training: Training
    repairs: tuple[Repair, ...]
    detections: tuple[Detection, ...]
    failure: CellFailure | None


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One experiment folder.

    Attributes:
        label: Where it is, relative to the parent of the folder it was found below; printable, and not always
            distinct.
        folder: Where it is.
        clean: Its clean model.
        cells: Its cells, by budget and seed.
    """

    label: str
    folder: Path
    clean: Training
    cells: tuple[Cell, ...]


@dataclasses.dataclass(frozen=True)
class Entry:
    """One finished repair, with what it belongs to.

    Attributes:
        experiment: Label of its experiment.
        cell: Its cell.
        repair: The repair.
        results: Its scores, ours or the published implementation's.
    """

    experiment: str
    cell: Cell
    repair: Repair
    results: UnlearningResults | ReferenceResults

    @property
    def budget(self) -> int:
        """The cell's budget."""
        return self.cell.budget

    @property
    def seed(self) -> int:
        """The cell's seed."""
        return self.cell.seed

    @property
    def name(self) -> str:
        """The method's folder: method and variant."""
        return self.repair.name

    @property
    def folder(self) -> Path:
        """Where it is."""
        return self.repair.files.folder


@dataclasses.dataclass(frozen=True)
class Tree:
    """Everything below some folders.

    Attributes:
        experiments: The experiments, by label.
        problems: What is wrong with single files, by path. A file has no record where the kind is `record`.
        records: Every record that could be read, by where it really stands; also those that do not belong there, and
            configurations and trainings above the folders given.
        own: Where `repair` and `detect` left a record beside a user's file, as reached.
        paths: How the files of `records` below the folders given are reached, by where they really stand.
    """

    experiments: tuple[Experiment, ...]
    problems: tuple[Found, ...]
    records: Mapping[Path, BaseModel]
    own: Mapping[Path, DetectionResults | RepairResults]
    paths: Mapping[Path, Path]

    def entries(self) -> list[Entry]:
        """Returns the finished repairs, by experiment, budget, seed and name."""
        found = [
            Entry(experiment.label, cell, repair, repair.results)
            for experiment in self.experiments
            for cell in experiment.cells
            for repair in cell.repairs
            if repair.results is not None
        ]
        return sorted(found, key=lambda entry: (entry.experiment, entry.budget, entry.seed, entry.name))

    def trainings(self, folder: Path) -> list[tuple[str, TrainResults | ReferenceTraining]]:
        """Returns the scores of the trained models below a folder under their folders' names, clean models first."""
        root = folder.resolve()
        pairs = [(e.clean, [cell.training for cell in e.cells]) for e in self.experiments]
        found = [*(clean for clean, _ in pairs), *(training for _, cells in pairs for training in cells)]
        places = [(t.files.folder, t.results) for t in found if t.results is not None]
        return [
            (place.name if place == root else place.relative_to(root).as_posix(), results)
            for place, results in places
            if place.is_relative_to(root)
        ]

    def record(self, path: Path, kind: type[R]) -> R | None:
        """Returns the record in a file, or None where there is none of that kind."""
        found = self.records.get(path.resolve())
        return found if isinstance(found, kind) else None
