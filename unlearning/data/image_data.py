"""An image set, split once and for all."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Mapping

import numpy as np

from unlearning.data.image_files import ImageFiles
from unlearning.data.pixels import pixel_range
from unlearning.data.streamed import RowsOnDisk
from unlearning.task import Split


@dataclasses.dataclass(frozen=True, eq=False)
class ImageData:
    """A split image set with the labels found in its source.

    Attributes:
        name: The set's name: `digits`, a tensorflow-datasets name, or the stem of the file or folder.
        train: Training rows.
        validation: Held-out rows for choosing hyperparameters.
        test: Held-out rows for final scores only.
        class_names: Names of the classes, in label order.
        pixel_max: 255, or 1 for float images that never exceed 1.
        train_ids: Example ids of the training rows (str), where the source has them; of image files, their paths
            relative to the folder.
        fine_labels: Finer classes behind the labels, by part (`train`, `validation`, `test`): one int64 array `(rows,)`
            each, where the source has them.
        ids_are_paths: Whether `train_ids` are paths of image files.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    class_names: tuple[str, ...]
    pixel_max: float
    train_ids: np.ndarray | None = None
    fine_labels: Mapping[str, np.ndarray] | None = None
    ids_are_paths: bool = False

    @property
    def train_files(self) -> np.ndarray | None:
        """Paths of the training images relative to the folder, where they are files."""
        return self.train_ids if self.ids_are_paths else None

    @functools.cached_property
    def pixel_range(self) -> tuple[float, float]:
        """What black and white are in the training images."""
        return pixel_range(self.train.images)

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """`(height, width, channels)` of an image, or the shape of whatever else a row is."""
        return tuple(self.train.images.shape[1:])

    def fingerprint(self) -> str:
        """Returns a SHA-256 over images and labels of all three splits, as hexadecimal text.

        Images that are read from disk one by one enter with their paths and file sizes only.
        """
        digest = hashlib.sha256()
        for split in (self.train, self.validation, self.test):
            digest.update(str((split.images.shape, split.images.dtype)).encode())
            if isinstance(split.images, ImageFiles | RowsOnDisk):
                digest.update(split.images.digest())
            else:
                digest.update(np.ascontiguousarray(split.images).data)
            digest.update(split.labels.tobytes())
        for part, fine in sorted((self.fine_labels or {}).items()):
            digest.update(part.encode() + fine.tobytes())
        return digest.hexdigest()

    def subset(self, rows: np.ndarray) -> ImageData:
        """Returns the set with some of its training rows; what is held out stays."""
        fine = self.fine_labels
        return dataclasses.replace(
            self,
            train=self.train.subset(rows),
            train_ids=None if self.train_ids is None else self.train_ids[rows],
            fine_labels=None if fine is None else {**fine, "train": fine["train"][rows]},
        )
