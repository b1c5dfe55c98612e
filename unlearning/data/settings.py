"""Which data, and how they are divided. The fields are options of `run`."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Lt

from unlearning.settings import Option, Positive, Settings


class DataSettings(Settings):
    """Which images a model learns from."""

    dataset: Annotated[str, Option(flag="--data", metavar="DATA", old=("--dataset",))] = "digits"
    """digits, a tensorflow-datasets name, cifar100-superclasses, a .npz file, a folder with one subfolder a class, or clothing1m:DIR, webvision:DIR, mini-webvision:DIR."""  # noqa: E501
    data_dir: Annotated[str | None, Option(metavar="DIR")] = None
    """Folder of prepared tensorflow-datasets sets (default: TFDS_DATA_DIR)."""
    data_seed: Annotated[int, Ge(0), Lt(2**32)] = 42
    """Seed of the splits."""
    train_rows: int | None = None
    """Keep only this many training rows, drawn at random and left in order."""
    image_size: Positive | None = None
    """Side in pixels to which image files are resized (default: that of the first one; 224 for sets read from disk)."""
