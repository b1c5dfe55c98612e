"""Sets of tensorflow-datasets by name: read where they are prepared, downloaded only where they are not."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from unlearning.data.assembling import assemble
from unlearning.data.base import Source
from unlearning.data.division import divide, halve
from unlearning.data.image_data import ImageData
from unlearning.data.registry import SOURCES
from unlearning.data.settings import DataSettings
from unlearning.errors import InputError
from unlearning.startup import import_tensorflow

_BATCH = 1000


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
        root = Path(data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()
        return bool(text) and any((root / self.features(text)[0]).glob("**/dataset_info.json"))

    def load(self, text: str, settings: DataSettings) -> ImageData:
        """Reads the parts in their stored order, and halves what is held out."""
        if not text or text.startswith((".", "~", "/")) or "\\" in text or ("/" in text and Path(text).suffix):
            raise InputError("data", "an existing file or folder", text)
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
    import_tensorflow()
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except Exception as error:  # unknown names, versions and unreadable folders raise different types
        forms = [one.load().form for one in SOURCES.entries()]
        close = difflib.get_close_matches(name, [*tfds.list_builders(), *(f for f in forms if " " not in f)], n=3)
        hint = f" Did you mean {' or '.join(close)}?" if close else ""
        missing = f"There is no file or folder {name!r}, and no data set of that name."
        raise InputError(f"{missing} Expected one of: {', '.join(forms)}.{hint}") from error
    features = builder.info.features
    if not {"image", label, *fine} <= set(getattr(features, "keys", set)()):
        raise InputError("data", "a tensorflow-datasets set with 'image' and 'label'", name)
    if not builder.info.splits:  # splits are known only of prepared sets
        try:
            builder.download_and_prepare()
        except Exception as error:
            raise InputError(
                f"The data set {name!r} is not prepared in {builder.data_dir} and could not be downloaded "
                f"({type(error).__name__}). Prepare it on a machine with network access and pass its folder as "
                "--data-dir, or set TFDS_DATA_DIR."
            ) from error
    return builder


def _read(builder: Any, part: str, keys: tuple[str, ...]) -> tuple[tuple[np.ndarray, ...], np.ndarray | None]:
    """Reads one part in its stored order, in batches (images of one set must share one shape).

    Returns:
        Images and the classes under `keys`, and the example ids where there are any.

    Raises:
        InputError: If the part cannot be read.
    """
    import tensorflow_datasets as tfds

    try:
        batches = list(tfds.as_numpy(builder.as_dataset(split=part, shuffle_files=False, batch_size=_BATCH)))
    except Exception as error:
        raise InputError(
            f"Cannot read the {part} part of {builder.name!r} from {builder.data_dir}: {type(error).__name__}. "
            "Its images must have one shape, and its files must be complete."
        ) from error
    images, *classes = (np.concatenate([batch[key] for batch in batches]) for key in ("image", *keys))
    ids = np.concatenate([batch["id"] for batch in batches]).astype(str) if "id" in batches[0] else None
    return (images, *(values.astype(np.int64) for values in classes)), ids
