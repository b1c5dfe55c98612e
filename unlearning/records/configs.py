"""The configurations: what the numbers depend on, and what their hash covers."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic_core import PydanticUndefined

from unlearning.data.settings import ImageSize, Interpolation
from unlearning.records.base import SCHEMA_VERSION, Record, Versioned
from unlearning.settings import Count, KnownShare, Positive, Seed, Sha256, Since, since
from unlearning.streams import stream_seed
from unlearning.training.settings import ModelRecipe

_NOISE_STREAMS = {"train": "noise", "validation": "validation noise", "test": "held-out noise"}
_BARE_NOISE = {"train": 0, "validation": 10_000, "test": 20_000}  # what version 0.1 added to the seed


class DataConfig(Record):
    """Which rows. Paths are not recorded, only names."""

    dataset: str
    """Name of the image set: `digits`, a tensorflow-datasets name, or the stem of a file or folder."""
    data_seed: Seed
    """Seed of the splits (and of the subset, where there is one)."""
    train_rows: Positive | None = None
    """Size of the random training subset in rows, or None for all rows."""
    image_size: ImageSize | None = None
    """Pixels to which image files were resized: the side of squares, or height and width; or None."""
    interpolation: Annotated[Interpolation | None, since("0.2", before=None)] = None
    """How images of a folder were resized; None for other data, and for `pillow`, as version 0.1 did."""
    crop_to_aspect_ratio: Annotated[bool, since("0.2", before=False)] = False
    """Whether images of a folder were cut instead of distorted."""
    pad_to_aspect_ratio: Annotated[bool, since("0.2", before=False)] = False
    """Whether images of a folder were padded instead of distorted."""
    color_mode: Annotated[Literal["grayscale", "rgba"] | None, since("0.2", before=None)] = None
    """Channels of the images of a folder, where they are not red, green and blue."""


class TrainConfig(ModelRecipe, Versioned):
    """How a model was trained: its recipe, the rows, and the seed."""

    data: DataConfig
    """Which rows."""
    seed: Seed
    """Seed of initial weights, row order and augmentation."""


def _demand_everything(cls: type[Record]) -> None:
    """Takes the defaults from fields that every version has: a recipe has them for users, a record says all."""
    for field in cls.model_fields.values():
        if not any(isinstance(mark, Since) for mark in field.metadata):
            field.default = PydanticUndefined
    cls.model_fields["schema_version"].default = SCHEMA_VERSION
    cls.model_rebuild(force=True)


_demand_everything(TrainConfig)


class PoisonConfig(Versioned):
    """How labels (or images) were corrupted."""

    noise: str
    """Kind of noise."""
    budget: Count
    """Requested number of corrupted training rows."""
    seed: Seed
    """Seed of the choice of rows and labels."""
    labels_key: str | None = None
    """Which labels of the file of human labels; None for other noise."""
    labels_sha256: Annotated[Sha256 | None, since("0.1", before=None)] = None
    """Hash of recorded labels; left out for other noise."""
    options: Annotated[dict[str, Any], since("0.2", before={})] = {}
    """Options of the noise that differ from its defaults, by name."""
    streams: Annotated[Literal["seed", "named"], since("0.2", before="seed")] = "named"
    """Whether noise draws from the bare seed, as version 0.1 did, or from streams of its own."""

    def draw_seed(self, part: Literal["train", "validation", "test"]) -> int:
        """Returns the seed by which the noise of a part of the data is drawn."""
        if self.streams == "named":
            return stream_seed(self.seed, _NOISE_STREAMS[part])
        return self.seed + _BARE_NOISE[part]


class DetectConfig(Versioned):
    """How a cell's suspects were found."""

    detector: str
    """Registered name."""
    options: dict[str, Any]
    """Its options."""


class UnlearnConfig(Versioned):
    """How a model was repaired."""

    method: str
    """Registered name, or several joined by `+`."""
    variant: str
    """Text that tells runs of one method apart; part of the folder's name."""
    hyperparameters: dict[str, Any]
    """All hyperparameters of the method, by field name; by stage in a chain."""
    validation: Literal["noisy", "clean"]
    """Labels of the validation rows that the method saw: wrong like the training rows', or true."""
    known_share: Annotated[KnownShare, since("0.2", before=1.0)] = 1.0
    """Share of the bad rows that was flagged."""
    seed: Seed
    """Seed of what the method draws."""
