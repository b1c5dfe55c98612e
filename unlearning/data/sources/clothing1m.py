"""Clothing1M in its official layout, read from disk image by image.

Xiao et al., "Learning from Massive Noisy Labeled Data for Image Classification", CVPR 2015: a folder with `images/`,
the key lists `noisy_train_key_list.txt`, `clean_val_key_list.txt` and `clean_test_key_list.txt` (a path a line),
`noisy_label_kv.txt` and `clean_label_kv.txt` (lines "path label"), and optionally `category_names_eng.txt` (a class
name a line).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from unlearning.data.assembling import assemble
from unlearning.data.image_data import ImageData
from unlearning.data.image_files import ImageFiles
from unlearning.data.settings import DataSettings
from unlearning.data.sources.listed import Listed, drawn, keyed, label_table, lines
from unlearning.errors import InputError

_CLOTHES = (
    "T-Shirt",
    "Shirt",
    "Knitwear",
    "Chiffon",
    "Sweater",
    "Hoodie",
    "Windbreaker",
    "Jacket",
    "Downcoat",
    "Suit",
    "Shawl",
    "Dress",
    "Vest",
    "Underwear",
)


class Clothing1M(Listed):
    """Noisy training rows with their noisy labels; the clean validation and test rows as they are.

    The clean training rows are not used. Images are `ImageFiles`, and the paths of the training images `train_ids`.
    """

    kind: ClassVar[str] = "clothing1m"
    form: ClassVar[str] = "clothing1m:DIR"

    def load_folder(self, root: Path, settings: DataSettings) -> ImageData:
        """Reads the lists; no image is opened."""
        names: tuple[str, ...] = _CLOTHES
        if (root / "category_names_eng.txt").exists():
            names = tuple(line for _, line in lines(root / "category_names_eng.txt"))
            if len(set(names)) != len(_CLOTHES) or len(names) != len(_CLOTHES):
                raise InputError("category_names_eng.txt", f"{len(_CLOTHES)} different names", ", ".join(names))
        noisy, clean = (label_table(root / f"{kind}_label_kv.txt", len(names)) for kind in ("noisy", "clean"))
        lists = {
            part: keyed(root / file, labels)
            for part, file, labels in (
                ("train", "noisy_train_key_list.txt", noisy),
                ("validation", "clean_val_key_list.txt", clean),
                ("test", "clean_test_key_list.txt", clean),
            )
        }
        lists["train"] = drawn(*lists["train"], settings.train_rows, settings.data_seed)
        size = self.side(settings)
        parts: dict[str, tuple[Any, np.ndarray]] = {
            part: (ImageFiles(root, paths, size), labels) for part, (paths, labels) in lists.items()
        }
        return assemble("clothing1m", parts, list(names), np.array(lists["train"][0], dtype=object), ids_are_paths=True)
