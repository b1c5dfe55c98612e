"""The sources by name, and which of them knows a text. A source is imported when it is asked."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from unlearning.data.settings import ColorMode, DataSettings, Interpolation
from unlearning.registry import Entry, Registry, Role

if TYPE_CHECKING:
    from unlearning.data.base import Source
    from unlearning.data.image_data import ImageData


def _own(name: str, target: str, summary: str, family: str) -> Entry:
    return Entry(name, f"unlearning.data.sources.{target}", summary, Role.PUBLISHED, family)


SOURCES = Registry(
    "source",
    "unlearning.sources",
    (
        _own("clothing1m", "clothing1m:Clothing1M", "Clothing1M in its official layout", "listed"),
        _own("webvision", "webvision:WebVision", "WebVision 1.0 in its official layout", "listed"),
        _own("mini-webvision", "webvision:MiniWebVision", "the Google part of its first 50 classes", "listed"),
        _own("digits", "digits:Digits", "handwritten digits that need no network", "digits"),
        _own("npz", "npz:Npz", "a .npz file of arrays", "files"),
        _own("npy", "npy:Npy", "a folder of .npy files, which may be larger than memory", "files"),
        _own("folder", "folder:Folder", "a folder with one subfolder of image files a class", "files"),
        _own(
            "cifar100-superclasses",
            "tfds:Cifar100Superclasses",
            "CIFAR-100 with its 20 superclasses as labels",
            "tensorflow-datasets",
        ),
        _own("tensorflow-datasets", "tfds:TensorflowDatasets", "a set by its name there", "tensorflow-datasets"),
    ),
)
"""Sources by name, each a `Source`, in the order in which they are asked (fallbacks last)."""

register = SOURCES.register
entry = SOURCES.entry
available = SOURCES.names
summaries = SOURCES.summaries


def find(text: str) -> Source:
    """Returns the source that knows a text."""
    sources: list[Source] = [one.load()() for one in SOURCES.entries()]
    return next(one for one in sorted(sources, key=lambda one: one.is_fallback) if one.matches(text))


def recorded_name(text: str) -> str:
    """Returns the name under which a data set is recorded: paths stay out of records."""
    return find(text).recorded_name(text)


def is_users_own(text: str) -> bool:
    """Whether a data set is a file or folder of the user's, which may change under one name."""
    return find(text).is_users_own


def reads_images(text: str) -> bool:
    """Whether a data set is made of image files that are read as `ImageReading` says."""
    return find(text).reads_images


def is_at_hand(text: str, data_dir: str | None = None) -> bool:
    """Whether a data set can be loaded without a download."""
    return find(text).is_at_hand(text, data_dir)


def load(settings: DataSettings) -> ImageData:
    """Loads and splits an image set.

    Passes on an `InputError` if the source is unknown or its content is not a classified image set.

    Args:
        settings: Which, and how it is divided.

    Returns:
        The set.
    """
    from unlearning.data.division import draw_rows

    source = find(settings.dataset)
    data = source.load(settings.dataset, settings)
    if settings.train_rows is None or source.draws_rows:
        return data
    return data.subset(draw_rows(len(data.train), settings.train_rows, settings.data_seed))


def load_data(
    source: str | os.PathLike[str],
    *,
    data_dir: str | os.PathLike[str] | None = None,
    data_seed: int = 42,
    train_rows: int | None = None,
    image_size: int | tuple[int, int] | None = None,
    interpolation: Interpolation = "bilinear",
    crop_to_aspect_ratio: bool = False,
    pad_to_aspect_ratio: bool = False,
    color_mode: ColorMode | None = None,
) -> ImageData:
    """Loads and splits an image set.

    A tensorflow-datasets set keeps its training part whole; its test images are halved at random into test and
    validation (CIFAR-10: 50,000 / 5,000 / 5,000 rows, the halves of the published experiments at seed 42). A source
    with one part is divided 70 / 15 / 15 per cent, stratified by class. The images of a folder are read as
    `keras.utils.image_dataset_from_directory` reads them, rounded to whole shades.

    Passes on an `InputError` if the source is unknown or its content is not a classified image set.

    Args:
        source: `digits`, a tensorflow-datasets name, `cifar100-superclasses`, a `.npz` file, a folder with one
            subfolder a class (or with `train/` and `test/` that have them), or `clothing1m:DIR`, `webvision:DIR`,
            `mini-webvision:DIR`.
        data_dir: Where tensorflow-datasets keeps prepared sets (default: `TFDS_DATA_DIR`, else its own default).
        data_seed: Seed of the splits.
        train_rows: Keep only this many training rows, drawn at random and left in order.
        image_size: Pixels to which image files are resized: the side of squares, or height and width (default: those of
            the first one; squares of 224 for the sets with real label noise, which are always squares).
        interpolation: How the images of a folder are resized: a method of Keras, or `pillow`, as version 0.1 did.
        crop_to_aspect_ratio: Cut images of a folder instead of distorting them.
        pad_to_aspect_ratio: Put black around images of a folder instead of distorting them.
        color_mode: `grayscale`, `rgb` or `rgba` for images of a folder (default: rgb).

    Returns:
        The set.

    Example:
        >>> data = load_data("digits")
        >>> len(data.train), len(data.validation), len(data.test), data.input_shape
        (1257, 270, 270, (8, 8, 1))
    """
    return load(
        DataSettings(
            dataset=os.fspath(source),
            data_dir=None if data_dir is None else os.fspath(data_dir),
            data_seed=int(data_seed),
            train_rows=None if train_rows is None else int(train_rows),
            image_size=_size(image_size),
            interpolation=interpolation,
            crop_to_aspect_ratio=crop_to_aspect_ratio,
            pad_to_aspect_ratio=pad_to_aspect_ratio,
            color_mode=color_mode,
        )
    )


def _size(image_size: Any) -> Any:
    """Returns a size in Python's integers, whatever kind of integers and of sequence it came in."""
    if image_size is None or isinstance(image_size, str):
        return image_size
    return tuple(map(int, image_size)) if isinstance(image_size, Iterable) else int(image_size)
