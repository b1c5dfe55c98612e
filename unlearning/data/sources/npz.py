"""A `.npz` file of arrays.

Either `images` and `labels`, or `train_images`, `train_labels`, `test_images`, `test_labels` (and `validation_images`,
`validation_labels`); rows that are no images (vectors, token sequences) are called `inputs` in place of `images`.
Optionally `class_names`, and `fine_labels` of every part (`fine_labels`, or `train_fine_labels` and so on).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from unlearning.archives import read_arrays
from unlearning.data.assembling import assemble
from unlearning.data.base import Source
from unlearning.data.checks import check_arrays
from unlearning.data.division import Parts, divide, halve, warn_of_division
from unlearning.data.image_data import ImageData
from unlearning.data.settings import DataSettings
from unlearning.errors import InputError
from unlearning.files import check_file

_LARGEST_FILE = 2**40  # that the arrays fit into memory is checked where they are read


class Npz(Source):
    """Arrays in a file."""

    form: ClassVar[str] = "a .npz file"
    is_users_own: ClassVar[bool] = True

    def matches(self, text: str) -> bool:
        """Whether a text ends in `.npz`."""
        return text.endswith(".npz")

    def load(self, text: str, settings: DataSettings) -> ImageData:
        """Reads the arrays, and divides what the file does not."""
        path = check_file("data", text, _LARGEST_FILE, ".npz file")
        return assemble_arrays(path, read_arrays(path), settings.data_seed)


def assemble_arrays(path: Path, arrays: Mapping[str, Any], seed: int) -> ImageData:
    """Makes a set of arrays by name.

    Args:
        path: Where they come from.
        arrays: The arrays.
        seed: Seed of a division.

    Returns:
        The set.

    Raises:
        InputError: If they have other names, or are no classified set.
    """
    rows = "inputs" if any(name.endswith("inputs") for name in arrays) else "images"
    plain = rows == "inputs"
    parts: dict[str, tuple[np.ndarray, ...]]
    if {rows, "labels"} <= set(arrays):
        fine = (arrays["fine_labels"],) if "fine_labels" in arrays else ()
        parts = dict(divide(arrays[rows], arrays["labels"], seed, *fine, of_any_kind=plain))
        warn_of_division(path.name, parts)
    elif {f"train_{rows}", "train_labels", f"test_{rows}", "test_labels"} <= set(arrays):
        validation = {f"validation_{rows}", "validation_labels"} <= set(arrays)
        present = ("train", "test", "validation") if validation else ("train", "test")
        without = [part for part in present if f"{part}_fine_labels" not in arrays]
        if 0 < len(without) < len(present):
            raise InputError("data", "fine labels of every part or of none", f"no {without[0]}_fine_labels")
        kinds = (rows, "labels") if without else (rows, "labels", "fine_labels")
        parts = {part: tuple(arrays[f"{part}_{kind}"] for kind in kinds) for part in present}
        check_arrays("test", *parts["test"], of_any_kind=plain)
        if "validation" not in parts:
            images, labels, *more = parts["test"]
            parts |= halve(images, labels, seed, *more)
    else:
        raise InputError(
            "data",
            "arrays named images and labels, or train_images, train_labels, test_images and test_labels (inputs in "
            "place of images where rows are none)",
            ", ".join(sorted(arrays)) or "an empty file",
        )
    names = _class_names(path, arrays, parts, plain)
    return assemble(path.stem, parts, names, of_any_kind=plain)


def _class_names(path: Path, arrays: Mapping[str, Any], parts: Parts, plain: bool) -> list[str]:
    """Returns the names in the file, or the numbers that occur."""
    if "class_names" in arrays:
        if arrays["class_names"].ndim != 1:
            raise InputError("class_names", "a one-dimensional array", f"shape {arrays['class_names'].shape}")
        return [str(name) for name in arrays["class_names"]]
    for part, content in parts.items():
        check_arrays(part, *content, of_any_kind=plain)
    # Without names the labels alone say how many classes there are; a gap is more likely a mistake.
    found = np.unique(np.concatenate([content[1] for content in parts.values()]))
    if not np.array_equal(found, np.arange(len(found))):
        missing = next(k for k in range(len(found)) if k != found[k])
        raise InputError(
            f"The labels in {path.name} are not classes 0..K-1: {found[-1]} occurs, but {missing} does not. "
            "Renumber them, or name all classes in an array class_names."
        )
    return [str(k) for k in found]
