"""The mistakes people really made."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from unlearning.archives import read_arrays
from unlearning.errors import InputError, invalid
from unlearning.files import check_file
from unlearning.noise.base import Noise, Rows, from_transitions
from unlearning.noise.corruption import Corruption
from unlearning.settings import PathText

_LARGEST_FILE = 2**30


class Human(Noise):
    """Takes labels that people gave, from a CIFAR-10N file (Wei et al., ICLR 2022), matched by example id.

    Row `i` of the file belongs to the example with id `train_<i, five digits>`. Its `clean_label` must equal the
    split's labels row by row, or the file belongs to other data.
    """

    needs_budget: ClassVar[bool] = False

    labels_file: PathText | None = None
    """A CIFAR-10N `.npz` file."""
    labels_key: str = "worse_label"
    """Which of its arrays."""

    def alike(self, corruption: Corruption, train: Rows, other: Rows, seed: int) -> Corruption:
        """See `Noise.alike`; there are no such labels for other rows."""
        return from_transitions(corruption, other, seed)

    def recorded(self) -> dict[str, Any]:
        """See `Noise.recorded`."""
        return {"labels_key": self.labels_key}

    def _draw(self, rows: Rows, budget: int, seed: int) -> Corruption:
        if self.labels_file is None:
            raise InputError("Human noise needs a file of labels: pass labels_file (--labels-file).")
        if rows.ids is None:
            raise InputError("Human noise is matched by example id, and this data set has none.")
        path = check_file("labels_file", self.labels_file, _LARGEST_FILE, ".npz file")
        arrays = read_arrays(path)
        key = self.labels_key
        for name in ("clean_label", key):
            if name not in arrays:
                raise invalid("labels_key", f"an array of {path.name}: {', '.join(sorted(arrays))}", name)
            if arrays[name].ndim != 1 or not np.issubdtype(arrays[name].dtype, np.integer):
                found = f"{name}: {arrays[name].dtype} of shape {arrays[name].shape}"
                raise invalid("labels_file", "one-dimensional arrays of integers", found)
        if len(arrays["clean_label"]) != len(arrays[key]):
            raise invalid("labels_file", "arrays of one length", f"{len(arrays['clean_label'])} and {len(arrays[key])}")
        positions = []
        for identifier in rows.ids:
            prefix, _, number = str(identifier).rpartition("_")
            if prefix != "train" or not number.isdigit() or int(number) >= len(arrays[key]):
                raise invalid("ids", f"train_00000..train_{len(arrays[key]) - 1:05d}", str(identifier))
            positions.append(int(number))
        true = rows.split.labels
        different = np.flatnonzero(arrays["clean_label"][positions] != true)
        if len(different):
            raise InputError(
                f"The labels in {path.name} belong to other data: clean_label differs from the true label in "
                f"{len(different)} of {len(true)} rows, first in row {different[0]}."
            )
        given = arrays[key][positions].astype(np.int64)
        if given.min() < 0 or given.max() >= rows.num_classes:
            raise invalid("labels_file", f"labels 0..{rows.num_classes - 1}", f"{given.min()}..{given.max()}")
        return Corruption("human", seed, given, true)
