"""A `.npz` file: arrays `images` and `labels`, or `train_images`, `train_labels`, `test_images`, `test_labels`.

Optionally `validation_images` and `validation_labels`, `class_names`, and `fine_labels` of every part (`fine_labels`,
or `train_fine_labels` and so on).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from unlearning.archives import read_arrays
from unlearning.data.base import ImageData, Source
from unlearning.data.division import assemble, check, divide, halve, keep_rows, warn_of_division
from unlearning.data.settings import DataSettings
from unlearning.errors import InputError, invalid


class Npz(Source):
    """A path ending in `.npz`."""

    is_users_own = True

    def matches(self, text: str) -> bool:
        """See `Source.matches`."""
        return text.endswith(".npz")

    def load(self, text: str, settings: DataSettings) -> ImageData:
        """See `Source.load`."""
        return keep_rows(_load_npz(Path(text), settings.data_seed), settings)


def _load_npz(path: Path, seed: int) -> ImageData:
    if not path.is_file():
        raise invalid("data", "an existing .npz file", str(path))
    arrays = read_arrays(path)
    parts: dict[str, tuple[np.ndarray, ...]]
    if {"images", "labels"} <= set(arrays):
        fine = (arrays["fine_labels"],) if "fine_labels" in arrays else ()
        parts = dict(divide(arrays["images"], arrays["labels"], seed, *fine))
        warn_of_division(path.name, parts)
    elif {"train_images", "train_labels", "test_images", "test_labels"} <= set(arrays):
        validation = {"validation_images", "validation_labels"} <= set(arrays)
        present = ("train", "test", "validation") if validation else ("train", "test")
        without = [part for part in present if f"{part}_fine_labels" not in arrays]
        if 0 < len(without) < len(present):
            raise invalid("data", "fine labels of every part or of none", f"no {without[0]}_fine_labels")
        kinds = ("images", "labels") if without else ("images", "labels", "fine_labels")
        parts = {part: tuple(arrays[f"{part}_{kind}"] for kind in kinds) for part in present}
        check("test", *parts["test"])
        if "validation" not in parts:
            images, labels, *more = parts["test"]
            parts |= halve(images, labels, seed, *more)
    else:
        raise invalid(
            "data",
            "arrays named images and labels, or train_images, train_labels, test_images and test_labels",
            ", ".join(sorted(arrays)) or "an empty file",
        )
    if "class_names" in arrays:
        if arrays["class_names"].ndim != 1:
            raise invalid("class_names", "a one-dimensional array", f"shape {arrays['class_names'].shape}")
        names = [str(name) for name in arrays["class_names"]]
    else:
        for part, content in parts.items():
            check(part, *content)
        # Without names the labels alone say how many classes there are; a gap is more likely a mistake.
        found = np.unique(np.concatenate([content[1] for content in parts.values()]))
        if not np.array_equal(found, np.arange(len(found))):
            missing = next(k for k in range(len(found)) if k != found[k])
            raise InputError(
                f"The labels in {path.name} are not classes 0..K-1: {found[-1]} occurs, but {missing} does not. "
                "Renumber them, or name all classes in an array class_names."
            )
        names = [str(k) for k in found]
    return assemble(path.stem, parts, names)
