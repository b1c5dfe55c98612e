"""Clothing1M: clothes from shops, with the labels that the text around them suggests.

Xiao et al., "Learning from Massive Noisy Labeled Data for Image Classification", CVPR 2015: a folder with `images/`,
the key lists `noisy_train_key_list.txt`, `clean_val_key_list.txt` and `clean_test_key_list.txt` (a path a line),
`noisy_label_kv.txt` and `clean_label_kv.txt` (lines "path label"), and optionally `category_names_eng.txt` (a class
name a line). The set does not fit into memory; its splits hold `ImageFiles`, which decode the rows that are asked for.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from unlearning.data.base import ImageData, Source
from unlearning.data.division import assemble
from unlearning.data.image_files import IMAGE_SIZE, ImageFiles
from unlearning.data.lists import draw_paths, open_folder, read_keyed, read_label_table, read_lines
from unlearning.data.settings import DataSettings
from unlearning.errors import invalid

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


class Clothing1M(Source):
    """`clothing1m:DIR`."""

    is_users_own = True

    def matches(self, text: str) -> bool:
        """See `Source.matches`."""
        return text.startswith("clothing1m:")

    def recorded_name(self, text: str) -> str:
        """See `Source.recorded_name`."""
        return "clothing1m"

    def load(self, text: str, settings: DataSettings) -> ImageData:
        """See `Source.load`."""
        return load_clothing1m(
            text.partition(":")[2],
            image_size=settings.image_size,
            train_rows=settings.train_rows,
            data_seed=settings.data_seed,
        )


def load_clothing1m(
    root: str | os.PathLike[str],
    *,
    image_size: int | None = None,
    train_rows: int | None = None,
    data_seed: int = 42,
) -> ImageData:
    """Loads Clothing1M: noisy training rows with their noisy labels; the clean validation and test rows as they are.

    The clean training rows are not used.

    Args:
        root: The folder; see the module's docstring.
        image_size: Side in pixels to which images are resized (default: `IMAGE_SIZE`).
        train_rows: Keep only this many training rows, drawn at random and left in order.
        data_seed: Seed of that draw.

    Returns:
        The set, its images as `ImageFiles`, the paths of the training images as `train_ids`.

    Raises:
        InputError: If files are missing, or a list is empty, malformed, or names what it must not.
    """
    DataSettings(image_size=image_size, data_seed=data_seed)  # checks them
    root = open_folder(root)
    names: tuple[str, ...] = _CLOTHES
    if (root / "category_names_eng.txt").exists():
        names = tuple(line for _, line in read_lines(root / "category_names_eng.txt"))
        if len(set(names)) != len(_CLOTHES) or len(names) != len(_CLOTHES):
            raise invalid("category_names_eng.txt", f"{len(_CLOTHES)} different names", ", ".join(names))
    noisy, clean = (read_label_table(root / f"{kind}_label_kv.txt", len(names)) for kind in ("noisy", "clean"))
    lists = {
        part: read_keyed(root / file, labels)
        for part, file, labels in (
            ("train", "noisy_train_key_list.txt", noisy),
            ("validation", "clean_val_key_list.txt", clean),
            ("test", "clean_test_key_list.txt", clean),
        )
    }
    lists["train"] = draw_paths(*lists["train"], train_rows, data_seed)
    parts: dict[str, tuple[Any, np.ndarray]] = {
        part: (ImageFiles(root, paths, image_size or IMAGE_SIZE), labels) for part, (paths, labels) in lists.items()
    }
    return assemble("clothing1m", parts, list(names), np.array(lists["train"][0], dtype=object))
