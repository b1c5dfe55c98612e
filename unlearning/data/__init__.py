"""Image sets from several kinds of source, split once and for all by a seed.

A source is a class in a file of its own (`digits`, `tfds`, `npz`, `folder`, `clothing1m`, `webvision`; each says what
it reads) and one line in `SOURCES`, where the first that takes a text is the one. Other packages call `register`, or
name an entry point in the group `unlearning.sources`; theirs are asked before tensorflow-datasets, which takes any
text.

Row numbers of the training split never change: they are positions in the source's own order (or, with `train_rows`, in
a seeded subset kept in that order).
"""

from __future__ import annotations

import os

from unlearning.data.base import ImageData, Source
from unlearning.data.settings import DataSettings
from unlearning.registry import Entry, Registry

__all__ = [
    "SOURCES",
    "DataSettings",
    "ImageData",
    "Source",
    "available",
    "entry",
    "is_users_own",
    "load",
    "load_data",
    "recorded_name",
    "register",
    "summaries",
]

_ANY = "tfds"


def _own(name: str, target: str, summary: str) -> Entry:
    return Entry(name, f"unlearning.data.{target}", summary, family=name)


SOURCES = Registry(
    "source",
    "unlearning.sources",
    (
        _own("clothing1m", "clothing1m:Clothing1M", "clothing1m:DIR, a folder in the official layout"),
        _own("webvision", "webvision:WebVision", "webvision:DIR, a folder in the official layout"),
        _own("mini-webvision", "webvision:MiniWebVision", "mini-webvision:DIR, the first 50 classes from Google"),
        _own("digits", "digits:Digits", "8x8 handwritten digits, which ship with scikit-learn"),
        _own("npz", "npz:Npz", "a .npz file with the arrays images and labels"),
        _own("folder", "folder:Folder", "a folder with one subfolder of images a class"),
        _own(_ANY, "tfds:TensorFlowDatasets", "a name of tensorflow-datasets"),
    ),
)
"""Kinds of data source, in the order in which they are asked, but that `tfds` is asked last."""

register = SOURCES.register
entry = SOURCES.entry
available = SOURCES.names


def summaries() -> dict[str, str]:
    """Returns one line on each source, by name."""
    return {one.name: one.summary for one in SOURCES.entries()}


def find_source(text: str) -> Source:
    """Returns the source that takes a text."""
    names = [name for name in SOURCES.names() if name != _ANY]
    sources = (SOURCES.load(name)() for name in (*names, _ANY))
    return next(source for source in sources if source.matches(text))


def recorded_name(text: str) -> str:
    """Returns the name under which a set is recorded: paths stay out of records."""
    return find_source(text).recorded_name(text)


def is_users_own(text: str) -> bool:
    """Whether a set is a file or folder of the user's, which may change under one name."""
    return find_source(text).is_users_own


def load(settings: DataSettings) -> ImageData:
    """Loads and splits the image set that settings describe; see `load_data`."""
    return find_source(settings.dataset).load(settings.dataset, settings)


def load_data(
    source: str | os.PathLike[str],
    *,
    data_dir: str | os.PathLike[str] | None = None,
    data_seed: int = 42,
    train_rows: int | None = None,
    image_size: int | None = None,
) -> ImageData:
    """Loads and splits an image set.

    A tensorflow-datasets set keeps its training part whole; its test images are halved at random into test and
    validation (CIFAR-10: 50,000 / 5,000 / 5,000 rows, the halves of the published experiments at seed 42). A source
    with one part is divided 70 / 15 / 15 per cent, stratified by class.

    Args:
        source: See the module's docstring.
        data_dir: Where tensorflow-datasets keeps prepared sets (default: `TFDS_DATA_DIR`, else its own default).
        data_seed: Seed of the splits.
        train_rows: Keep only this many training rows, drawn at random and left in order.
        image_size: Height and width to which image files are resized (default: those of the first one; 224 for the
            sets with real label noise).

    Returns:
        The set.

    Raises:
        InputError: If the source is unknown or its content is not a classified image set.

    Example:
        >>> data = load_data("digits")
        >>> len(data.train), len(data.validation), len(data.test), data.input_shape
        (1257, 270, 270, (8, 8, 1))
    """
    return load(
        DataSettings(
            dataset=os.fspath(source),
            data_dir=data_dir,
            data_seed=data_seed,
            train_rows=train_rows,
            image_size=image_size,
        )
    )
