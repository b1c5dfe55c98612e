"""WebVision 1.0 and Mini-WebVision in their official layout, read from disk image by image.

Li et al., "WebVision Database: Visual Learning and Understanding from Web Data", 2017: a folder with
`info/train_filelist_google.txt`, `info/train_filelist_flickr.txt` and `info/val_filelist.txt` (lines "path label"),
`info/synsets.txt` (lines "identifier name, more names"), the training images at their paths, and the validation images
in `val_images_256/`. Mini-WebVision is the Google part of its first 50 classes.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from unlearning.data.assembling import assemble
from unlearning.data.division import halve
from unlearning.data.image_data import ImageData
from unlearning.data.image_files import ImageFiles
from unlearning.data.settings import DataSettings
from unlearning.data.sources.listed import Listed, drawn, labelled, lines
from unlearning.errors import InputError

_MINI_CLASSES = 50


class WebVision(Listed):
    """All of it; the official validation rows are halved into test and validation.

    Images are `ImageFiles`, and the paths of the training images `train_ids`.
    """

    kind: ClassVar[str] = "webvision"
    form: ClassVar[str] = "webvision:DIR"
    mini: ClassVar[bool] = False

    def load_folder(self, root: Path, settings: DataSettings) -> ImageData:
        """Reads the lists; no image is opened."""
        size = self.side(settings)
        names = _synset_names(root / "info" / "synsets.txt")
        kept = min(len(names), _MINI_CLASSES) if self.mini else len(names)
        paths: list[str] = []
        labels: list[int] = []
        for part in ("google",) if self.mini else ("google", "flickr"):
            for _, path, label in labelled(root / "info" / f"train_filelist_{part}.txt", len(names)):
                if label < kept:
                    paths.append(path)
                    labels.append(label)
        held_out = [
            (path, label) for _, path, label in labelled(root / "info" / "val_filelist.txt", len(names)) if label < kept
        ]
        for file, found in (("train_filelist_google.txt", paths), ("val_filelist.txt", held_out)):
            if not found:
                raise InputError(file, f"at least one row of the classes 0..{kept - 1}", "none")
        paths, train_labels = drawn(paths, np.array(labels), settings.train_rows, settings.data_seed)
        images = ImageFiles(root / "val_images_256", [path for path, _ in held_out], size)
        parts: dict[str, tuple[Any, np.ndarray]] = {"train": (ImageFiles(root, paths, size), train_labels)}
        # Row numbers are halved in place of images: to index image files is to decode them.
        halves = halve(np.arange(len(held_out)), np.array([label for _, label in held_out]), settings.data_seed)
        parts |= {part: (images.subset(rows), half) for part, (rows, half) in halves.items()}
        return assemble(self.kind, parts, names[:kept], np.array(paths, dtype=object), ids_are_paths=True)


class MiniWebVision(WebVision):
    """Only the Google part, and only the first 50 classes."""

    kind: ClassVar[str] = "mini-webvision"
    form: ClassVar[str] = "mini-webvision:DIR"
    mini: ClassVar[bool] = True


def _synset_names(file: Path) -> list[str]:
    """Reads the first name of every class; a name that two classes share gets their identifiers behind it."""
    found: list[tuple[str, str]] = []
    for number, line in lines(file):
        identifier, _, rest = line.partition(" ")
        name = rest.split(",")[0].strip()
        if not name:
            raise InputError(f"{file.name}, line {number}", "an identifier and a name, with a space between them", line)
        found.append((identifier, name))
    counts = Counter(name for _, name in found)
    return [name if counts[name] == 1 else f"{name} ({identifier})" for identifier, name in found]
