"""WebVision: pictures that search engines found for the names of classes.

Li et al., "WebVision Database: Visual Learning and Understanding from Web Data", 2017: a folder with
`info/train_filelist_google.txt`, `info/train_filelist_flickr.txt` and `info/val_filelist.txt` (lines "path label"),
`info/synsets.txt` (lines "identifier name, more names"), the training images at their paths, and the validation images
in `val_images_256/`. Mini-WebVision is the Google part of its first 50 classes. The set does not fit into memory; its
splits hold `ImageFiles`, which decode the rows that are asked for.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from unlearning.data.base import ImageData, Source
from unlearning.data.division import assemble, halve
from unlearning.data.image_files import IMAGE_SIZE, ImageFiles
from unlearning.data.lists import draw_paths, open_folder, read_labelled, read_lines
from unlearning.data.settings import DataSettings
from unlearning.errors import invalid

_MINI_CLASSES = 50


class WebVision(Source):
    """`webvision:DIR`."""

    is_users_own = True
    name = "webvision"

    def matches(self, text: str) -> bool:
        """See `Source.matches`."""
        return text.startswith(f"{self.name}:")

    def recorded_name(self, text: str) -> str:
        """See `Source.recorded_name`."""
        return self.name

    def load(self, text: str, settings: DataSettings) -> ImageData:
        """See `Source.load`."""
        return load_webvision(
            text.partition(":")[2],
            mini=self.name != WebVision.name,
            image_size=settings.image_size,
            train_rows=settings.train_rows,
            data_seed=settings.data_seed,
        )


class MiniWebVision(WebVision):
    """`mini-webvision:DIR`."""

    name = "mini-webvision"


def load_webvision(
    root: str | os.PathLike[str],
    *,
    mini: bool,
    image_size: int | None = None,
    train_rows: int | None = None,
    data_seed: int = 42,
) -> ImageData:
    """Loads WebVision 1.0 or Mini-WebVision; the official validation rows are halved into test and validation.

    Args:
        root: The folder; see the module's docstring.
        mini: Only the Google part, and only the first 50 classes.
        image_size: Side in pixels to which images are resized (default: `IMAGE_SIZE`).
        train_rows: Keep only this many training rows, drawn at random and left in order.
        data_seed: Seed of the halves and of that draw.

    Returns:
        The set, its images as `ImageFiles`, the paths of the training images as `train_ids`.

    Raises:
        InputError: If files are missing, or a list is empty, malformed, or names what it must not.
    """
    DataSettings(image_size=image_size, data_seed=data_seed)  # checks them
    root = open_folder(root)
    size = image_size or IMAGE_SIZE
    names = _synset_names(root / "info" / "synsets.txt")
    kept = min(len(names), _MINI_CLASSES) if mini else len(names)
    paths: list[str] = []
    labels: list[int] = []
    for part in ("google",) if mini else ("google", "flickr"):
        for _, path, label in read_labelled(root / "info" / f"train_filelist_{part}.txt", len(names)):
            if label < kept:
                paths.append(path)
                labels.append(label)
    held_out = [
        (path, label)
        for _, path, label in read_labelled(root / "info" / "val_filelist.txt", len(names))
        if label < kept
    ]
    for file, found in (("train_filelist_google.txt", paths), ("val_filelist.txt", held_out)):
        if not found:
            raise invalid(file, f"at least one row of the classes 0..{kept - 1}", "none")
    paths, train_labels = draw_paths(paths, np.array(labels), train_rows, data_seed)
    images = ImageFiles(root / "val_images_256", [path for path, _ in held_out], size)
    parts: dict[str, tuple[Any, np.ndarray]] = {"train": (ImageFiles(root, paths, size), train_labels)}
    # Row numbers are halved in place of images: to index image files is to decode them.
    halves = halve(np.arange(len(held_out)), np.array([label for _, label in held_out]), data_seed)
    parts |= {part: (images.subset(rows), half) for part, (rows, half) in halves.items()}
    return assemble("mini-webvision" if mini else "webvision", parts, names[:kept], np.array(paths, dtype=object))


def _synset_names(file: Path) -> list[str]:
    """Reads the first name of every class; a name that two classes share gets their identifiers behind it."""
    found: list[tuple[str, str]] = []
    for number, line in read_lines(file):
        identifier, _, rest = line.partition(" ")
        name = rest.split(",")[0].strip()
        if not name:
            raise invalid(f"{file.name}, line {number}", "an identifier and a name, with a space between them", line)
        found.append((identifier, name))
    counts = Counter(name for _, name in found)
    return [name if counts[name] == 1 else f"{name} ({identifier})" for identifier, name in found]
