"""The path grammar of an experiment folder. Nothing here reads or writes.

<experiment>/clean/seed-<S>/                         train_config, train_results, best_model.keras, train_log.csv
<experiment>/budget-<B>/seed-<S>/                    + poison_config, corruption.npz, poisoned_model.keras
<experiment>/budget-<B>/seed-<S>/detect-<detector>[-<variant>]/  detection_results, suspects.csv, scores.png
<experiment>/budget-<B>/seed-<S>/<method>[-<variant>]/  unlearn_config, unlearning_results, repaired_model.keras,
                                                     rows.npz, logs

Version 0.1 trained one clean model for all seeds, with the seed of the data, and put its files right into `clean/`. A
folder whose `clean/` holds such files keeps that model for every cell, also for those that are added; in every other
folder each seed has its own (see `has_one_clean`).
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from unlearning.errors import InputError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,99}")
_NUMBER = "(0|[1-9][0-9]{0,17})"  # as this program writes them: `seed-044` would be `seed-44` again
REFERENCE_EXPERIMENT = "poisoning"
"""Folder name of the published set-up: CIFAR-10, the `cnn` network, flipped pairs."""


def check_name(argument: str, name: str) -> str:
    """Returns a name if it is safe as one path component, and raises `InputError` if not."""
    if not _NAME.fullmatch(name):
        raise InputError(argument, "letters, digits, '_', '.', '+' and '-'", name)
    return name


def default_experiment(dataset: str, model: str, noise: str, train_rows: int | None) -> Path:
    """Returns the folder of a set-up under `models/`, so that different set-ups never share one."""
    if (dataset, model, noise, train_rows) == ("cifar10", "cnn", "flip-pairs", None):
        return Path("models", REFERENCE_EXPERIMENT)
    size = "" if train_rows is None else f"-{train_rows}"
    return Path("models", check_name("dataset", f"{dataset}{size}-{model}-{noise}"))


@dataclasses.dataclass(frozen=True)
class TrainedFiles:
    """Files of one trained model.

    Attributes:
        folder: Where they are.
        model_name: `best_model.keras` or `poisoned_model.keras`.
    """

    folder: Path
    model_name: str

    @property
    def config(self) -> Path:
        """The training configuration."""
        return self.folder / "train_config.json"

    @property
    def results(self) -> Path:
        """The scores; written last."""
        return self.folder / "train_results.json"

    @property
    def model(self) -> Path:
        """The weights."""
        return self.folder / self.model_name

    @property
    def log(self) -> Path:
        """One row an epoch."""
        return self.folder / "train_log.csv"

    @property
    def backup(self) -> Path:
        """What an interrupted training leaves behind."""
        return self.folder / "backup"

    @property
    def poison_config(self) -> Path:
        """The noise configuration (poisoned models only)."""
        return self.folder / "poison_config.json"

    @property
    def corruption(self) -> Path:
        """The corruption record (poisoned models only)."""
        return self.folder / "corruption.npz"

    @property
    def failure(self) -> Path:
        """Why the cell is unfinished, where something went wrong."""
        return self.folder / "failure.json"


@dataclasses.dataclass(frozen=True)
class MethodFiles:
    """Files of one repair."""

    folder: Path

    @property
    def config(self) -> Path:
        """The method's configuration."""
        return self.folder / "unlearn_config.json"

    @property
    def results(self) -> Path:
        """The scores; written last."""
        return self.folder / "unlearning_results.json"

    @property
    def model(self) -> Path:
        """The repaired weights."""
        return self.folder / "repaired_model.keras"

    @property
    def rows(self) -> Path:
        """Lists of rows that the record binds by count and hash."""
        return self.folder / "rows.npz"

    @property
    def step_log(self) -> Path:
        """One row a step."""
        return self.folder / "log_step.csv"

    @property
    def solver_log(self) -> Path:
        """One row a solver iteration (methods that solve only)."""
        return self.folder / "log_solver.csv"

    @property
    def figures(self) -> Path:
        """Folder of figures."""
        return self.folder / "figures"


def clean_files(experiment: Path, seed: int | None) -> TrainedFiles:
    """Returns the files of a seed's clean model; None: of the one that version 0.1 trained for all seeds."""
    folder = experiment / "clean"
    return TrainedFiles(folder if seed is None else folder / f"seed-{seed}", "best_model.keras")


def has_one_clean(experiment: Path) -> bool:
    """Whether one clean model stands for all seeds: what version 0.1 began stays so, and nothing else becomes so."""
    shared = clean_files(experiment, None)
    return shared.config.is_file() or shared.results.is_file()


def clean_of(experiment: Path, seed: int) -> TrainedFiles:
    """Returns the files of the clean model that cells of a seed are compared with."""
    return clean_files(experiment, None if has_one_clean(experiment) else seed)


def cell_files(experiment: Path, budget: int, seed: int) -> TrainedFiles:
    """Returns a poisoned model's files."""
    return TrainedFiles(experiment / f"budget-{budget}" / f"seed-{seed}", "poisoned_model.keras")


def method_files(cell: Path, method: str, variant: str = "") -> MethodFiles:
    """Returns a repair's files inside a cell."""
    name = f"{method}-{variant}" if variant else method
    return MethodFiles(cell / check_name("variant", name))


@dataclasses.dataclass(frozen=True)
class DetectionFiles:
    """Files of one detection."""

    folder: Path

    @property
    def suspects(self) -> Path:
        """The suspects, as `repair --flagged` reads them."""
        return self.folder / "suspects.csv"

    @property
    def guesses(self) -> Path:
        """How probable each label of a suspect is, where the detector has probabilities."""
        return self.folder / "guesses.npz"

    @property
    def results(self) -> Path:
        """What was found; written last."""
        return self.folder / "detection_results.json"

    @property
    def figure(self) -> Path:
        """The scores."""
        return self.folder / "scores.png"


Files = TrainedFiles | MethodFiles | DetectionFiles


def detection_files(cell: Path, detector: str, variant: str = "") -> DetectionFiles:
    """Returns a detection's files inside a cell."""
    name = f"detect-{detector}-{variant}" if variant else f"detect-{detector}"
    return DetectionFiles(cell / check_name("detector", name))


def parse_clean(folder: Path) -> int | None:
    """Returns the seed of a clean model's folder, or None where it is none; see `clean_files`."""
    seed = re.fullmatch(f"seed-{_NUMBER}", folder.name)
    if seed is None or folder.parent != clean_files(folder.parent.parent, None).folder:
        return None
    return int(seed[1])


def parse_cell(folder: Path) -> tuple[Path, int, int]:
    """Splits a cell's path into experiment folder, budget and seed.

    Returns:
        The experiment folder, the budget and the seed.

    Raises:
        InputError: If the path does not end in `budget-<B>/seed-<S>`.
    """
    seed = re.fullmatch(f"seed-{_NUMBER}", folder.name)
    budget = re.fullmatch(f"budget-{_NUMBER}", folder.parent.name)
    if seed is None or budget is None:
        raise InputError("run_dir", "a folder .../budget-<B>/seed-<S>", str(folder))
    return folder.parent.parent, int(budget[1]), int(seed[1])
