"""A folder with one subfolder of image files a class, or with such folders for training, test and validation.

Images are read as `keras.utils.image_dataset_from_directory` reads them, so that a model sees what it was trained on.
Example ids are the paths of the images relative to the folder.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import ClassVar

import numpy as np

from unlearning.archives import check_memory
from unlearning.data.assembling import assemble
from unlearning.data.base import Source
from unlearning.data.decoding import count_channels, opened_image, read_image
from unlearning.data.division import Parts, divide, halve, warn_of_division
from unlearning.data.image_data import ImageData
from unlearning.data.settings import DataSettings
from unlearning.data.sources.npy import holds_arrays
from unlearning.data.sources.scanning import Scan
from unlearning.errors import InputError
from unlearning.links import real_path
from unlearning.progress import progress_bar


class Folder(Source):
    """Image files in folders."""

    form: ClassVar[str] = "an image folder"
    is_users_own: ClassVar[bool] = True
    reads_images: ClassVar[bool] = True

    def matches(self, text: str) -> bool:
        """Whether there is such a folder, and not one of arrays."""
        return Path(text).is_dir() and not holds_arrays(text)

    def load(self, text: str, settings: DataSettings) -> ImageData:
        """Reads all images, and divides them where the folder does not."""
        folder = Path(text)
        if real_path(folder) == Path(real_path(folder).anchor):
            raise InputError("data", "a folder of images, not the root of the disk", text)
        scan = Scan(folder)
        roots = scan.parts() or {"": folder}
        class_names = [path.name for path in scan.subfolders(roots.get("train", folder))]
        if len(class_names) < 2:
            raise InputError(
                "data",
                "a folder with at least two subfolders, one a class",
                f"{roots.get('train', folder)} with {len(class_names)}",
            )
        files = {part: _labelled(scan, root, class_names, part) for part, root in roots.items()}
        scan.report()
        paths = [path for found in files.values() for path, _ in found]
        images = _read(folder, paths, settings)
        parts: dict[str, tuple[np.ndarray, ...]] = {}
        start = 0
        for part, found in files.items():
            rows = np.arange(start, start := start + len(found))
            parts[part] = (images[rows] if len(files) > 1 else images, np.array([label for _, label in found]), rows)
        whole = _in_three(folder, parts, settings.data_seed)
        ids = np.empty(len(whole["train"][2]), dtype=object)
        ids[:] = [paths[row] for row in whole["train"][2]]
        split = {part: arrays[:2] for part, arrays in whole.items()}
        return assemble(folder.name or real_path(folder).name, split, class_names, ids, ids_are_paths=True)


def _labelled(scan: Scan, root: Path, class_names: list[str], part: str) -> list[tuple[str, int]]:
    """Lists the images of a part with their labels; any part but the training rows may lack a class."""
    found = []
    for subfolder in scan.subfolders(root):
        if subfolder.name not in class_names:
            raise InputError("data", f"the class folders of train/ in {root}", subfolder.name)
        paths = scan.images(subfolder)
        if not paths and part in ("", "train"):
            raise InputError("data", "image files in every class folder", f"none in {subfolder}")
        found += [(path, class_names.index(subfolder.name)) for path in paths]
    return found


def _in_three(folder: Path, parts: dict[str, tuple[np.ndarray, ...]], seed: int) -> Parts:
    """Divides what the folder does not divide by itself."""
    if {"train", "test", "validation"} <= set(parts):
        return parts
    if len(parts) == 1:
        (only,) = parts.values()
        whole = divide(only[0], only[1], seed, only[2])
        warn_of_division(folder.name, whole)
        return whole
    held_out = parts["test" if "test" in parts else "validation"]
    return {"train": parts["train"], **halve(held_out[0], held_out[1], seed, held_out[2])}


def _read(folder: Path, paths: list[str], settings: DataSettings) -> np.ndarray:
    """Reads images as one uint8 array, all of the size that is asked for, or of the first one's."""
    from PIL import Image

    root, asked = real_path(folder), settings.image_size
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # what it warns of is refused
        with opened_image(folder / paths[0]) as first:
            own = (first.height, first.width)
            size = own if asked is None else (asked, asked) if isinstance(asked, int) else asked
            shape = (len(paths), *size, count_channels(settings))
            check_memory(2 * int(np.prod(shape, dtype=object)))  # all images, and once more when they are divided
        images = np.empty(shape, np.uint8)
        for row, path in enumerate(progress_bar(paths, description="reading images", unit="image")):
            if not real_path(folder / path).is_relative_to(root):
                raise InputError(f"The image {folder / path} is a link that leaves the folder {folder}.")
            images[row] = read_image(folder / path, settings, size)
    return images
