"""Settings and the folder they fill: what all cells of an experiment share."""

from __future__ import annotations

import contextlib
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearning import data as sources
from unlearning.architectures import check_known
from unlearning.data.settings import ImageReading
from unlearning.errors import InputError
from unlearning.experiments.cell import folder as layout
from unlearning.experiments.cell.choices import PlannedRepair, plan_repairs
from unlearning.experiments.cell.settings import RunSettings
from unlearning.files import check_writable
from unlearning.links import real_path
from unlearning.records import DataConfig, PoisonConfig, TrainConfig, TrainResults, read_json
from unlearning.training import objectives
from unlearning.training.settings import TrainSettings

if TYPE_CHECKING:
    from unlearning.data import ImageData


class Setup:
    """An experiment: its settings, its folder, its data.

    Args:
        settings: What is asked for.
        recorded: Which rows, where a record says it: without its data, nobody knows what kind of data a name is of.

    Attributes:
        settings: What is asked for.
        folder: The experiment folder.
        repairs: What is to be repaired with in every cell, in the order of the settings.

    Raises:
        InputError: If a method or an option does not exist, or the folders contradict each other.
    """

    def __init__(self, settings: RunSettings, recorded: DataConfig | None = None) -> None:
        name = sources.recorded_name(settings.dataset)
        self.folder = settings.output or layout.default_experiment(
            name, settings.model, settings.noise, settings.train_rows
        )
        recorded = recorded or _begun_before(settings, self.folder)
        if recorded is not None and recorded.interpolation is None:  # as version 0.1 did, where images are read at all
            as_before = {"interpolation": "pillow", "crop_to_aspect_ratio": False, "pad_to_aspect_ratio": False}
            settings = settings.changed(**as_before)
        self.settings = settings
        self._data_config = recorded or DataConfig(
            dataset=name,
            data_seed=settings.data_seed,
            train_rows=settings.train_rows,
            image_size=settings.image_size,
            **_recorded_reading(settings),
        )
        if settings.tensorboard is not None and self.board(self.folder).is_relative_to(real_path(self.folder)):
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
        inside = real_path(folder).relative_to(real_path(self.folder).parent)
        return real_path(self.settings.tensorboard) / inside


def train_settings(config: TrainConfig) -> TrainSettings:
    """Returns a recorded configuration as the settings of a training."""
    recipe = {name: getattr(config, name) for name in TrainSettings.model_fields if hasattr(config, name)}
    comparable = objectives.OBJECTIVES.load(config.objective).comparable
    return TrainSettings(**{**recipe, "monitor": "loss" if comparable else "last"})


def _recorded_reading(settings: RunSettings) -> dict[str, Any]:
    """Returns what a configuration says of how the images of a folder are read; nothing for other data."""
    if not sources.reads_images(settings.dataset):
        return {}
    reading = {name: getattr(settings, name) for name in ImageReading.model_fields}
    defaults = {"interpolation": "pillow", "color_mode": "rgb"}  # which records say by silence
    return {name: value for name, value in reading.items() if value and value != defaults.get(name)}


def _begun_before(settings: RunSettings, folder: Path) -> DataConfig | None:
    """Returns what version 0.1 recorded of the data, where it began this experiment on a folder of images.

    None where that is not so, or other rows or another reading are asked for.
    """
    if not sources.reads_images(settings.dataset) or _recorded_reading(settings).keys() - {"interpolation"}:
        return None
    asked = {"dataset": sources.recorded_name(settings.dataset)}
    asked |= {name: getattr(settings, name) for name in ("data_seed", "train_rows", "image_size")}
    for path in (layout.clean_of(folder, seed).config for seed in settings.seeds):
        with contextlib.suppress(InputError):  # whoever needs a damaged file says so
            if path.is_file() and (found := read_json(path, TrainConfig).data) == DataConfig(**asked):
                return found
    return None
