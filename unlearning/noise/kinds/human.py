"""The mistakes that people really made: CIFAR-10N (Wei et al., ICLR 2022)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from unlearning.archives import read_arrays
from unlearning.errors import InputError
from unlearning.files import check_file
from unlearning.noise.base import Rows
from unlearning.noise.corruption import Corruption
from unlearning.noise.kinds.from_file import FromFile

_LARGEST_FILE = 2**30


class Human(FromFile):
    """Takes labels that people gave, matched by example id.

    Row `i` of the file belongs to the example with id `train_<i, five digits>`. Its `clean_label` must equal the true
    labels row by row, or the file belongs to other data.
    """

    labels_file: str | None = None
    """The labels: a CIFAR-10N .npz file."""
    labels_key: str = "worse_label"
    """Which array of that file to use."""

    def draw(self, rows: Rows, budget: int, seed: int) -> Corruption:
        """Looks the labels up."""
        if self.labels_file is None:
            raise InputError("Human noise needs a file of labels: pass labels_file (--labels-file).")
        if rows.ids is None:
            raise InputError("Human noise is matched by example id, and this data set has none.")
        path = check_file("labels_file", self.labels_file, _LARGEST_FILE, ".npz file")
        clean, labels = self._columns(path)
        positions = [_position(identifier, len(labels)) for identifier in rows.ids]
        true = rows.split.labels
        different = np.flatnonzero(clean[positions] != true)
        if len(different):
            raise InputError(
                f"The labels in {path.name} belong to other data: clean_label differs from the true label in "
                f"{len(different)} of {len(true)} rows, first in row {different[0]}."
            )
        given = labels[positions].astype(np.int64)
        if given.min() < 0 or given.max() >= rows.num_classes:
            raise InputError("labels_file", f"labels 0..{rows.num_classes - 1}", f"{given.min()}..{given.max()}")
        return Corruption("human", seed, given, true)

    def recorded(self) -> dict[str, Any]:
        """Returns the name of the labelling; the file's path stays out of records."""
        return {"labels_key": self.labels_key}

    def _columns(self, path: Path) -> tuple[np.ndarray, np.ndarray]:
        arrays = read_arrays(path)
        for name in ("clean_label", self.labels_key):
            if name not in arrays:
                raise InputError("labels_key", f"an array of {path.name}: {', '.join(sorted(arrays))}", name)
            if arrays[name].ndim != 1 or not np.issubdtype(arrays[name].dtype, np.integer):
                found = f"{name}: {arrays[name].dtype} of shape {arrays[name].shape}"
                raise InputError("labels_file", "one-dimensional arrays of integers", found)
        clean, labels = arrays["clean_label"], arrays[self.labels_key]
        if len(clean) != len(labels):
            raise InputError("labels_file", "arrays of one length", f"{len(clean)} and {len(labels)}")
        return clean, labels


def _position(identifier: object, rows: int) -> int:
    """Returns the row of the file that belongs to an example."""
    prefix, _, number = str(identifier).rpartition("_")
    if prefix != "train" or not number.isdigit() or int(number) >= rows:
        raise InputError("ids", f"train_00000..train_{rows - 1:05d}", str(identifier))
    return int(number)
