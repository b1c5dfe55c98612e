"""What experiment folders hold. Records are read when they are first asked for, each once."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unlearning.errors import InputError
from unlearning.experiments.cell import folder as layout
from unlearning.experiments.results.reading import Files
from unlearning.links import real_path
from unlearning.methods.described import label
from unlearning.records import (
    MEMORISATION,
    CellFailure,
    DetectionResults,
    FeatureResults,
    MemorisationResults,
    PoisonConfig,
    RepairResults,
    TrainConfig,
    TrainResults,
    UnlearnConfig,
    UnlearningResults,
)
from unlearning.records.reference import ReferenceResults, ReferenceTraining
from unlearning.records.validation import Problem


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
class Own:
    """What `repair` or `detect` wrote about a user's own model: a record, and files named like it beside it.

    Attributes:
        name: The record's path below the folder given, without its ending.
        record: The record.
        read: What reads it.
    """

    name: str
    record: Path
    read: Files = dataclasses.field(repr=False)

    @property
    def results(self) -> RepairResults | DetectionResults | None:
        """The record; None where it cannot be read, or is none of the two."""
        kind = own_kind(self.read.raw(self.record))
        return None if kind is None else self.read.record(self.record, kind)

    @property
    def suspects(self) -> Path:
        """CSV of the suspects; may be missing."""
        repaired = own_kind(self.read.raw(self.record)) is RepairResults
        return (
            self.record.with_name(f"{self.record.stem}-suspects.csv") if repaired else self.figure.with_suffix(".csv")
        )

    @property
    def review(self) -> Path:
        """Page on which a person decides about the suspects; may be missing."""
        return self.suspects.with_suffix(".html")

    @property
    def figure(self) -> Path:
        """Picture of the detector's scores; may be missing."""
        return self.record.with_suffix(".png")


def own_kind(content: Any) -> type[RepairResults] | type[DetectionResults] | None:
    """Returns of what kind the record of `repair` or `detect` is, by its keys; None of what is neither."""
    keys = set(content) if isinstance(content, dict) else set()
    return DetectionResults if "detector" in keys else RepairResults if "flagged_rows" in keys else None


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
        found_own: What may be records of a user's own models, outside of experiments.
        read: What reads records.
    """

    experiments: tuple[Experiment, ...]
    files: tuple[tuple[Path, Path], ...]
    found_own: tuple[Own, ...]
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

    def own(self) -> list[Own]:
        """Returns all records of a user's own models that can be read, by name."""
        return [one for one in self.found_own if one.results is not None]

    def memorisations(self) -> list[MemorisationResults]:
        """Returns what `memorise` has found, in any folder: by seed, the model as trained before its repairs."""
        read = (self.read.record(path, MemorisationResults) for path, _ in self.files if path.name == MEMORISATION)
        found = [record for record in read if record is not None]
        return sorted(found, key=lambda record: (record.config.seed, record.repair is not None))

    def trainings(self) -> list[Training]:
        """Returns all trained models that have results, clean ones first, then by path; in any folder."""
        paths = [path for path, _ in self.files if path.name == layout.clean_files(path, None).results.name]
        models = [Training(layout.TrainedFiles(path.parent, ""), self.read) for path in paths]
        models.sort(key=lambda model: (not _is_clean(model.layout.folder), model.layout.folder))
        return [model for model in models if model.results is not None]


def _is_clean(folder: Path) -> bool:
    real = real_path(folder)
    return layout.parse_clean(real) is not None or real == layout.clean_files(real.parent, None).folder
