"""Which rows. The fields are options of `run`."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Lt

from unlearning.settings import Option, PathText, Positive, Settings


class DataSettings(Settings):
    """Which image set, and how it is split."""

    dataset: PathText = "digits"
    """digits, a tensorflow-datasets name, cifar100-superclasses, a .npz file, a folder with one subfolder a class, or
    clothing1m:DIR, webvision:DIR, mini-webvision:DIR."""
    data_dir: Annotated[PathText | None, Option(metavar="DIR")] = None
    """Folder of prepared tensorflow-datasets sets (default: TFDS_DATA_DIR)."""
    data_seed: Annotated[int, Ge(0), Lt(2**32)] = 42
    """Seed of the splits and of the clean model."""
    train_rows: int | None = None
    """Use a random subset of this many training rows."""
    image_size: Positive | None = None
    """Side in pixels to which image files are resized."""
