"""A folder with one subfolder of image files a class."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import ClassVar

import numpy as np

from unlearning.archives import check_memory
from unlearning.data.assembling import assemble
from unlearning.data.base import Source
from unlearning.data.division import divide, warn_of_division
from unlearning.data.image_data import ImageData
from unlearning.data.image_files import IMAGE_FORMATS
from unlearning.data.settings import DataSettings
from unlearning.errors import InputError
from unlearning.progress import progress_bar

_IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"}


class Folder(Source):
    """Image files in folders."""

    form: ClassVar[str] = "an image folder"
    is_users_own: ClassVar[bool] = True

    def matches(self, text: str) -> bool:
        """Whether there is such a folder."""
        return Path(text).is_dir()

    def load(self, text: str, settings: DataSettings) -> ImageData:
        """Reads all images, and divides them."""
        from PIL import Image

        folder, side = Path(text), settings.image_size
        classes = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
        if len(classes) < 2:
            raise InputError(
                "data", "a folder with at least two subfolders, one a class", f"{folder} with {len(classes)}"
            )
        files: list[tuple[Path, int]] = []
        for label, subfolder in enumerate(classes):
            found = sorted(p for p in subfolder.rglob("*") if p.suffix.lower() in _IMAGE_SUFFIXES and p.is_file())
            if not found:
                raise InputError("data", "image files in every class folder", f"none in {subfolder}")
            files += [(path, label) for path in found]
        root = folder.resolve()
        size = None if side is None else (side, side)
        images = []
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            for path, _ in progress_bar(files, description="reading images", unit="image"):
                if not path.resolve().is_relative_to(root):
                    raise InputError(f"The image {path} is a link that leaves the folder {folder}.")
                try:
                    with Image.open(path, formats=IMAGE_FORMATS) as image:
                        if size is None:
                            size = image.size
                            check_memory(
                                2 * 3 * len(files) * size[0] * size[1]
                            )  # the list, and the array stacked of it
                        images.append(np.asarray(image.convert("RGB").resize(size)))
                except Exception as error:  # Pillow's readers fail in many ways on damaged files
                    raise InputError(f"Cannot read the image {path}: {error}") from error
        labels = np.array([label for _, label in files])
        parts = divide(np.stack(images), labels, settings.data_seed)
        warn_of_division(folder.name, parts)
        return assemble(folder.name, parts, [path.name for path in classes])
