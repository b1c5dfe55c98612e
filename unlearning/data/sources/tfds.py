"""Sets of tensorflow-datasets by name: read where they are prepared, downloaded only where they are not."""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import sys
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from unlearning.data.assembling import assemble
from unlearning.data.base import Source
from unlearning.data.division import divide, halve
from unlearning.data.image_data import ImageData
from unlearning.data.registry import SOURCES
from unlearning.data.settings import DataSettings
from unlearning.data.sources.reachable import any_reachable
from unlearning.errors import InputError
from unlearning.startup import import_tensorflow

_BATCH = 1000
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*(/[A-Za-z0-9][A-Za-z0-9_+-]*)?(:[0-9]+\.[0-9]+\.[0-9]+)?")
"""A set, its configuration and its version; `a-b` is none, but a slip to be told of."""


class TensorflowDatasets(Source):
    """A set with an image and a label in every row.

    Its training part stays whole; its test images are halved at random into test and validation (CIFAR-10: 50,000 /
    5,000 / 5,000 rows, the halves of the published experiments at seed 42).
    """

    form: ClassVar[str] = "a tensorflow-datasets name"
    is_fallback: ClassVar[bool] = True

    def matches(self, text: str) -> bool:
        """Whatever no other source knows is looked for there."""
        return True

    def features(self, text: str) -> tuple[str, ...]:
        """Returns the set, the feature with the labels, and that with the fine labels, if any."""
        return text, "label"

    def is_at_hand(self, text: str, data_dir: str | None) -> bool:
        """Whether the set is prepared on disk."""
        name = self.features(text)[0]
        if not _NAME.fullmatch(name):
            return False
        root = Path(data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()
        folder = root / name.replace(":", "/")
        # Never `**`: a folder of that name may hold anything.
        return any(found for depth in range(3) for found in folder.glob("*/" * depth + "dataset_info.json"))

    def load(self, text: str, settings: DataSettings) -> ImageData:
        """Reads the parts in their stored order, and halves what is held out."""
        if Path(text).is_file():
            raise InputError("data", "a .npz file or a folder of images", text)
        if not _NAME.fullmatch(text) and text not in ("", self.form):
            raise InputError("data", "an existing file or folder, or the name of a data set", text)
        name, label, *fine = self.features(text)
        builder = _prepared(name, label, fine, settings.data_dir)
        class_names, seed = list(builder.info.features[label].names), settings.data_seed
        read = {
            part: _read(builder, part, (label, *fine))
            for part in builder.info.splits
            if part in ("train", "test", "validation")
        }
        if "train" not in read:
            raise InputError("data", "a set with a 'train' split", f"{name} with {', '.join(builder.info.splits)}")
        set_name = text if fine else builder.name
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


class Cifar100Superclasses(TensorflowDatasets):
    """`cifar100` with its 20 superclasses as labels, and its classes as fine labels."""

    form: ClassVar[str] = "cifar100-superclasses"
    is_fallback: ClassVar[bool] = False

    def matches(self, text: str) -> bool:
        """Whether this is its name."""
        return text == self.form

    def features(self, text: str) -> tuple[str, ...]:
        """Returns those of `cifar100`."""
        return "cifar100", "coarse_label", "label"


def _prepared(name: str, label: str, fine: list[str], data_dir: str | None) -> Any:
    """Returns the builder of a set that is on disk, after a download where it was not."""
    with _quiet():
        import tensorflow_datasets as tfds

        known = tfds.list_builders()
        if re.split("[/:]", name)[0] not in known and not TensorflowDatasets().is_at_hand(name, data_dir):
            raise _unknown(name, known)  # before TensorFlow is waited for
        import_tensorflow()
        try:
            builder = tfds.builder(name, data_dir=data_dir)
        except Exception as error:  # unknown names, versions and unreadable folders raise different types
            raise _unknown(name, known) from error
        features = builder.info.features
        if not {"image", label, *fine} <= set(getattr(features, "keys", set)()):
            raise InputError("data", "a tensorflow-datasets set with 'image' and 'label'", name)
        if not builder.info.splits:  # splits are known only of prepared sets
            _download(name, builder)
    return builder


def _unknown(name: str, known: list[str]) -> InputError:
    """Returns the error for a name that neither the disk nor tensorflow-datasets knows."""
    forms = [one.load().form for one in SOURCES.entries()]
    close = difflib.get_close_matches(name, [*known, *(f for f in forms if " " not in f)], n=3)
    hint = f" Did you mean {' or '.join(close)}?" if close else ""
    return InputError(
        f"Unknown data set {name!r}: there is no such file or folder, and tensorflow-datasets has no such set. "
        f"Expected one of: {', '.join(forms)}.{hint}"
    )


def _download(name: str, builder: Any) -> None:
    """Downloads and prepares a set, unless none of its servers answers: the downloader would try for minutes."""
    remedy = (
        "Prepare it on a machine with network access and pass its folder as --data-dir, or set TFDS_DATA_DIR "
        "(--data digits needs no network)."
    )
    if not any_reachable(builder.url_infos or ()):
        raise InputError(
            f"The data set {name!r} is not prepared in {builder.data_dir}, and its server cannot be reached. {remedy}"
        )
    try:
        builder.download_and_prepare()
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"The data set {name!r} is not prepared in {builder.data_dir} and could not be downloaded "
            f"({type(error).__name__}: {reason}). {remedy}"
        ) from error


def _quiet() -> contextlib.AbstractContextManager[Any]:
    """Returns a context that sends what is printed to standard error, since standard output is for results."""
    return contextlib.redirect_stdout(sys.stderr)


def _read(builder: Any, part: str, keys: tuple[str, ...]) -> tuple[tuple[np.ndarray, ...], np.ndarray | None]:
    """Reads one part in its stored order, in batches (images of one set must share one shape).

    Returns:
        Images and the classes under `keys`, and the example ids where there are any.

    Raises:
        InputError: If the part cannot be read.
    """
    try:
        with _quiet():
            import tensorflow_datasets as tfds

            batches = list(tfds.as_numpy(builder.as_dataset(split=part, shuffle_files=False, batch_size=_BATCH)))
    except Exception as error:
        raise InputError(
            f"Cannot read the {part} part of {builder.name!r} from {builder.data_dir}: {type(error).__name__}. "
            "Its images must have one shape, and its files must be complete."
        ) from error
    images, *classes = (np.concatenate([batch[key] for batch in batches]) for key in ("image", *keys))
    ids = np.concatenate([batch["id"] for batch in batches]).astype(str) if "id" in batches[0] else None
    return (images, *(values.astype(np.int64) for values in classes)), ids
