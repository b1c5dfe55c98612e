"""A tensorflow-datasets name such as `cifar10`: read where it is prepared, downloaded only where it is not.

`cifar100-superclasses` is `cifar100` with its 20 superclasses as labels, and its classes as fine labels.
"""

from __future__ import annotations

import difflib
import os
from pathlib import Path

import numpy as np

from unlearning.data.base import ImageData, Source
from unlearning.data.division import assemble, divide, halve, keep_rows
from unlearning.data.settings import DataSettings
from unlearning.errors import InputError, invalid

SUPERCLASSES = {"cifar100-superclasses": ("cifar100", "coarse_label", "label")}
"""Variants of sets: the set, the feature with the labels, and that with the fine labels."""

_TFDS_BATCH = 1000


class TensorFlowDatasets(Source):
    """Any other text."""

    def matches(self, text: str) -> bool:
        """See `Source.matches`."""
        return True

    def load(self, text: str, settings: DataSettings) -> ImageData:
        """See `Source.load`."""
        return keep_rows(_load_tfds(text, settings.data_dir, settings.data_seed), settings)


def _load_tfds(name: str, data_dir: str | os.PathLike[str] | None, seed: int) -> ImageData:
    if "/" in name and Path(name).suffix:
        raise invalid("data", "an existing file or folder", name)
    import tensorflow_datasets as tfds

    wanted = name
    name, label, *fine = SUPERCLASSES.get(name, (name, "label"))
    try:
        builder = tfds.builder(name, data_dir=None if data_dir is None else os.fspath(data_dir))
    except Exception as error:  # unknown names, versions and unreadable folders raise different types
        close = difflib.get_close_matches(name, [*tfds.list_builders(), "digits", *SUPERCLASSES], n=3)
        hint = f" Did you mean {' or '.join(close)}?" if close else ""
        raise InputError(
            f"Unknown data set {name!r}. Expected 'digits', a .npz file, an image folder, "
            f"a tensorflow-datasets name, or clothing1m:PATH, webvision:PATH, mini-webvision:PATH.{hint}"
        ) from error
    features = builder.info.features
    if not {"image", label, *fine} <= set(getattr(features, "keys", set)()):
        raise invalid("data", "a tensorflow-datasets set with 'image' and 'label'", name)
    if not builder.info.splits:  # splits are known only of prepared sets
        try:
            builder.download_and_prepare()
        except Exception as error:
            raise InputError(
                f"The data set {name!r} is not prepared in {builder.data_dir} and could not be downloaded "
                f"({type(error).__name__}). Prepare it on a machine with network access and pass its folder as "
                "--data-dir, or set TFDS_DATA_DIR."
            ) from error
    class_names = list(features[label].names)
    read = {
        part: _read_tfds(builder, part, (label, *fine))
        for part in builder.info.splits
        if part in ("train", "test", "validation")
    }
    if "train" not in read:
        raise invalid("data", "a set with a 'train' split", f"{name} with {', '.join(builder.info.splits)}")
    set_name = wanted if fine else builder.name
    (images, labels, *more), ids = read["train"]
    if "test" not in read and "validation" not in read:
        return assemble(set_name, divide(images, labels, seed, *more), class_names)
    parts: dict[str, tuple[np.ndarray, ...]] = {"train": read["train"][0]}
    if "test" in read and "validation" in read:
        parts |= {part: read[part][0] for part in ("test", "validation")}
    else:
        images, labels, *more = read["test" if "test" in read else "validation"][0]
        parts |= halve(images, labels, seed, *more)
    return assemble(set_name, parts, class_names, ids)


def _read_tfds(  # type: ignore[no-untyped-def]
    builder, part: str, keys: tuple[str, ...]
) -> tuple[tuple[np.ndarray, ...], np.ndarray | None]:
    """Reads one part in its stored order, in batches (images of one set must share one shape).

    Returns:
        Images and the classes under `keys`, and the example ids where there are any.
    """
    import tensorflow_datasets as tfds

    try:
        batches = list(tfds.as_numpy(builder.as_dataset(split=part, shuffle_files=False, batch_size=_TFDS_BATCH)))
    except Exception as error:
        raise InputError(
            f"Cannot read the {part} part of {builder.name!r} from {builder.data_dir}: {type(error).__name__}. "
            "Its images must have one shape, and its files must be complete."
        ) from error
    images, *classes = (np.concatenate([batch[key] for batch in batches]) for key in ("image", *keys))
    ids = np.concatenate([batch["id"] for batch in batches]).astype(str) if "id" in batches[0] else None
    return (images, *(values.astype(np.int64) for values in classes)), ids
