"""Settings and the folder they fill: what all cells of an experiment share."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

from unlearning import data as sources
from unlearning.architectures import check_known
from unlearning.errors import InputError
from unlearning.experiments.cell import folder as layout
from unlearning.experiments.cell.choices import PlannedRepair, plan_repairs
from unlearning.experiments.cell.settings import RunSettings
from unlearning.files import check_writable
from unlearning.records import DataConfig, PoisonConfig, TrainConfig, TrainResults
from unlearning.training import objectives
from unlearning.training.settings import TrainSettings

if TYPE_CHECKING:
    from unlearning.data import ImageData


class Setup:
    """An experiment: its settings, its folder, its data.

    Args:
        settings: What is asked for.

    Attributes:
        settings: What is asked for.
        folder: The experiment folder.
        repairs: What is to be repaired with in every cell, in the order of the settings.

    Raises:
        InputError: If a method or an option does not exist, or the folders contradict each other.
    """

    def __init__(self, settings: RunSettings) -> None:
        self.settings = settings
        name = sources.recorded_name(settings.dataset)
        self.folder = settings.output or layout.default_experiment(
            name, settings.model, settings.noise, settings.train_rows
        )
        self._data_config = DataConfig(
            dataset=name,
            data_seed=settings.data_seed,
            train_rows=settings.train_rows,
            image_size=settings.image_size,
        )
        if settings.tensorboard is not None and self.board(self.folder).is_relative_to(self.folder.resolve()):
            raise InputError("tensorboard", "a folder that is not among the results", str(settings.tensorboard))
        self.repairs = plan_repairs(settings, train_settings(self.train_config(settings.data_seed)))

    @property
    def order(self) -> list[PlannedRepair]:
        """The repairs with the gold standard first: the others are compared with it."""
        return sorted(self.repairs, key=lambda repair: not repair.is_gold)

    @functools.cached_property
    def data(self) -> ImageData:
        """The image set, loaded when first needed."""
        return sources.load(self.settings)

    @functools.cached_property
    def data_sha256(self) -> str:
        """The hash of images and labels."""
        return self.data.fingerprint()

    def check_data(self, results: TrainResults) -> None:
        """Raises `InputError` unless the data are those of a finished training; configurations know only the name."""
        if self.data_sha256 != results.data_sha256:
            raise InputError(
                f"The data in {self.settings.dataset} are not those that {self.folder} was made with. "
                "Choose another --out, or remove the folder."
            )

    def train_config(self, seed: int) -> TrainConfig:
        """Returns how a model of this experiment is trained."""
        shared = set(TrainConfig.model_fields) & set(RunSettings.model_fields)
        asked = {name: getattr(self.settings, name) for name in shared}
        return TrainConfig(**{**asked, "data": self._data_config, "seed": seed})

    @property
    def clean_seeds(self) -> tuple[int, ...]:
        """Seeds that have a clean model each; of those that share one, the first."""
        seeds = self.settings.seeds
        return seeds[:1] if layout.has_one_clean(self.folder) else seeds

    def clean_config(self, seed: int) -> TrainConfig:
        """Returns how the clean model is trained that cells of a seed are compared with."""
        return self.train_config(self.settings.data_seed if layout.has_one_clean(self.folder) else seed)

    def poison_config(self, budget: int, seed: int) -> PoisonConfig:
        """Returns how the labels of a cell are corrupted."""
        return PoisonConfig(noise=self.settings.noise, budget=budget, seed=seed, **self.settings.recorded_noise)

    def check(self) -> None:
        """Finds mistakes in names and options; nothing is loaded or written."""
        check_known(self.settings.model)
        check_writable(self.folder)

    def board(self, folder: Path) -> Path:
        """Where TensorBoard's files for a folder of results go: under the same names."""
        assert self.settings.tensorboard is not None
        inside = folder.resolve().relative_to(self.folder.resolve().parent)
        return self.settings.tensorboard.resolve() / inside


def train_settings(config: TrainConfig) -> TrainSettings:
    """Returns a recorded configuration as the settings of a training."""
    recipe = {name: getattr(config, name) for name in TrainSettings.model_fields if hasattr(config, name)}
    comparable = objectives.OBJECTIVES.load(config.objective).comparable
    return TrainSettings(**{**recipe, "monitor": "loss" if comparable else "last"})
