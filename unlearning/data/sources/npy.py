"""A folder of `.npy` files with the names of the arrays in a `.npz` file; rows are read when they are asked for."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np

from unlearning.data.base import Source
from unlearning.data.image_data import ImageData
from unlearning.data.settings import DataSettings
from unlearning.data.sources.npz import assemble_arrays
from unlearning.data.streamed import open_rows

_LABELS = ("labels.npy", "train_labels.npy")


def holds_arrays(text: str) -> bool:
    """Whether a folder has labels in a `.npy` file."""
    return any((Path(text) / name).is_file() for name in _LABELS)


class Npy(Source):
    """Arrays in a folder, which may be larger than memory."""

    form: ClassVar[str] = "a folder of .npy files"
    is_users_own: ClassVar[bool] = True

    def matches(self, text: str) -> bool:
        """Whether a text is a folder that holds arrays."""
        return holds_arrays(text)

    def load(self, text: str, settings: DataSettings) -> ImageData:
        """Opens the arrays, reads the labels, and divides what the folder does not."""
        folder = Path(text)
        arrays = {path.stem: open_rows(path) for path in sorted(folder.glob("*.npy"))}
        rows = ("images", "inputs")
        read = {name: array if name.endswith(rows) else np.asarray(array) for name, array in arrays.items()}
        return assemble_arrays(folder, read, settings.data_seed)
