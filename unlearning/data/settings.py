"""Which data, and how they are divided and read. The fields are options of `run`."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Lt
from pydantic import model_validator

from unlearning.errors import InputError
from unlearning.settings import Option, Positive, Settings, since

ColorMode = Literal["grayscale", "rgb", "rgba"]
"""Channels of an image, by Keras's names."""
Interpolation = Literal[
    "bilinear", "nearest", "bicubic", "area", "lanczos3", "lanczos5", "gaussian", "mitchellcubic", "pillow"
]
"""Keras's ways of resizing, and that of version 0.1."""
ImageSize = Positive | tuple[Positive, Positive]
"""The side of squares in pixels, or height and width."""


class ImageReading(Settings):
    """How the image files of a folder are read, by the names and defaults of Keras's `image_dataset_from_directory`."""

    interpolation: Annotated[Interpolation, since("0.2")] = "bilinear"
    """How the images of a folder are resized: as Keras does, or `pillow`, as version 0.1 did (bicubic, antialiased)."""
    crop_to_aspect_ratio: Annotated[bool, since("0.2", before=False)] = False
    """Cut images of a folder instead of distorting them."""
    pad_to_aspect_ratio: Annotated[bool, since("0.2", before=False)] = False
    """Put black around images of a folder instead of distorting them."""
    color_mode: Annotated[ColorMode | None, since("0.2", before=None)] = None
    """Channels of the images of a folder: grayscale, rgb or rgba (default: as many as the model takes, else rgb)."""

    @model_validator(mode="after")
    def _one_way(self) -> ImageReading:
        if self.crop_to_aspect_ratio and self.pad_to_aspect_ratio:
            raise InputError("pad_to_aspect_ratio", "one of crop_to_aspect_ratio and pad_to_aspect_ratio", "both")
        if self.interpolation == "pillow" and (self.crop_to_aspect_ratio or self.pad_to_aspect_ratio):
            raise InputError("interpolation", "another way of resizing with an aspect ratio that is kept", "pillow")
        return self


class DataChoice(Settings):
    """Which data, and how they are divided."""

    dataset: Annotated[str, Option(flag="--data", metavar="DATA", old=("--dataset",))] = "digits"
    """digits, a tensorflow-datasets name, cifar100-superclasses, a .npz file, a folder with one subfolder a class, or clothing1m:DIR, webvision:DIR, mini-webvision:DIR."""  # noqa: E501
    data_dir: Annotated[str | None, Option(metavar="DIR")] = None
    """Folder of prepared tensorflow-datasets sets (default: TFDS_DATA_DIR)."""
    data_seed: Annotated[int, Ge(0), Lt(2**32)] = 42
    """Seed of the splits."""
    train_rows: int | None = None
    """Keep only this many training rows, drawn at random and left in order."""
    image_size: ImageSize | None = None
    """Side in pixels to which image files are resized (default: that of the first one; 224 for sets read from disk)."""


class DataSettings(ImageReading, DataChoice):
    """Which images a model learns from."""
