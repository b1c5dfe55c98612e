"""What the report page shows, as `gather` reads it and `render` takes it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from unlearning.experiments.cell import folder as layout
from unlearning.experiments.results.tree import Own
from unlearning.records import (
    CellFailure,
    DetectionResults,
    PoisonConfig,
    TrainConfig,
    TrainResults,
    UnlearnConfig,
    UnlearningResults,
)

State = Literal["done", "failed", "running", "missing"]


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
        label: What it is called: its name, with what that meant in an earlier version.
        files: Where its files are.
        state: How far it is.
        config: Its configuration, or None.
        results: Its scores, or None.
        measure: What `curves` are: a column of `log_solver.csv`, or empty.
        curves: The solver's convergence.
        confusions: PNG files of the confusion matrices by `before` and `after`, where the record has no counts.
    """

    name: str
    label: str
    files: layout.MethodFiles
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
        suspect: Whether the detector suspects it; other rows may be listed, too.
    """

    row: int
    given: int
    suggested: int
    corrected: int | None
    score: float
    suspect: bool = True


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
class OwnFiles:
    """What was done to a model of a user's own.

    Attributes:
        own: The record, which can be read.
        suspects: What stands in the list of suspects beside it, most suspicious first.
        figure: The picture of the scores as a PNG file, or None.
    """

    own: Own
    suspects: tuple[Suspect, ...]
    figure: bytes | None


@dataclasses.dataclass(frozen=True)
class Cell:
    """One budget and seed.

    Attributes:
        budget: Its budget.
        seed: Its seed.
        files: Where its files are.
        state: How far it is.
        train_config: How its model was trained, or None.
        poison_config: How its labels were corrupted, or None.
        training: Scores of its poisoned model, or None.
        repairs: Its repairs, by name.
        detections: Its detections, by name.
        failure: What went wrong, or None.
        epochs: Epoch, accuracy and loss of the training of its poisoned model, thinned; empty without a log.
    """

    budget: int
    seed: int
    files: layout.TrainedFiles
    state: State
    train_config: TrainConfig | None = None
    poison_config: PoisonConfig | None = None
    training: TrainResults | None = None
    repairs: tuple[Repair, ...] = ()
    detections: tuple[Detected, ...] = ()
    failure: CellFailure | None = None
    epochs: tuple[tuple[float, float, float], ...] = ()


@dataclasses.dataclass(frozen=True)
class Shown:
    """One experiment folder.

    Attributes:
        label: Its name on the page; no absolute path.
        folder: Where it is.
        clean_configs: How the clean models were trained.
        clean: Scores of the clean models by the seed of the cells that are compared with them; not all are there.
        cells: Its cells, by budget and seed; cells that are only to be expected are `missing`.
        writers: Since when locks are held, by lock.
    """

    label: str
    folder: Path
    clean_configs: tuple[TrainConfig, ...]
    clean: dict[int, TrainResults]
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
        own: What was done to a user's own models, by name.
        written: Dates between which results were written, as their files say; empty without any.
    """

    experiments: tuple[Shown, ...]
    problems: tuple[str, ...]
    foreign: int
    own: tuple[OwnFiles, ...] = ()
    written: tuple[str, ...] = ()
