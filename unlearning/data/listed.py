"""Image sets with real label noise in their official layouts, read from disk image by image.

- Clothing1M (Xiao et al., "Learning from Massive Noisy Labeled Data for Image Classification", CVPR 2015): a folder
  with `images/`, the key lists `noisy_train_key_list.txt`, `clean_val_key_list.txt` and `clean_test_key_list.txt` (a
  path a line), `noisy_label_kv.txt` and `clean_label_kv.txt` (lines "path label"), and optionally
  `category_names_eng.txt` (a class name a line).
- WebVision 1.0 (Li et al., "WebVision Database: Visual Learning and Understanding from Web Data", 2017): a folder with
  `info/train_filelist_google.txt`, `info/train_filelist_flickr.txt` and `info/val_filelist.txt` (lines "path label"),
  `info/synsets.txt` (lines "identifier name, more names"), the training images at their paths, and the validation
  images in `val_images_256/`. Mini-WebVision is the Google part of its first 50 classes.

These sets do not fit into memory. Their splits hold `ImageFiles`, which decode the rows that are asked for.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from unlearning.data.sources import IMAGE_FORMATS, ImageData, _assemble, _check_options, _draw_rows, _halve
from unlearning.errors import InputError, invalid
from unlearning.progress import progress_bar

IMAGE_SIZE = 224
"""Side in pixels to which images are resized by default."""

_THREADS = min(16, 2 * (os.cpu_count() or 1))
_STAT_ROWS = 4096
_MINI_CLASSES = 50
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


class ImageFiles:
    """Image files as a read-only array of shape `(rows, size, size, 3)`; only the rows asked for are decoded.

    Indexing by a number, a slice, an integer array or a mask returns what `np.asarray(files)[index]` would, as a fresh
    uint8 array. Images become RGB and are resized (bilinearly) to squares.

    Args:
        root: The folder.
        paths: Paths of the images relative to it. Links are followed.
        image_size: Height and width in pixels.

    Attributes:
        root: The folder.
        image_size: Height and width in pixels.

    Raises:
        InputError: If a path leaves the folder or is not a file; on access, if an image cannot be decoded.

    Example:
        >>> files = ImageFiles("photos", ["a.jpg", "b.jpg"], image_size=32)  # doctest: +SKIP
        >>> files.shape, files[0].shape, files[[1, 0]].shape  # doctest: +SKIP
        ((2, 32, 32, 3), (32, 32, 3), (2, 32, 32, 3))
    """

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(self, root: str | os.PathLike[str], paths: Sequence[str], image_size: int = IMAGE_SIZE) -> None:
        if image_size < 1:
            raise invalid("image_size", "a positive number of pixels", image_size)
        self.root = Path(root)
        self.image_size = image_size
        for path in paths:
            if _leaves(path):
                raise invalid("paths", f"paths inside the folder {self.root}", path)
        # Objects, since a fixed width would make every path as long as the longest.
        self._paths = np.empty(len(paths), dtype=object)
        self._paths[:] = list(paths)
        self._bytes = self._file_sizes()

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """`(rows, height, width, 3)`."""
        return (len(self._paths), self.image_size, self.image_size, 3)

    @property
    def size(self) -> int:
        """Number of values."""
        return int(np.prod(self.shape))

    @property
    def nbytes(self) -> int:
        """Memory that the decoded images would take."""
        return self.size * self.dtype.itemsize

    @property
    def paths(self) -> tuple[str, ...]:
        """Paths relative to the folder, in row order."""
        return tuple(self._paths)

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: Any) -> np.ndarray:
        chosen = self._paths[index]  # NumPy decides what an index means
        if isinstance(chosen, str):
            return self._decode(chosen)
        flat = chosen.ravel()
        images = np.empty((len(flat), *self.shape[1:]), self.dtype)
        with ThreadPoolExecutor(max(1, min(_THREADS, len(flat)))) as pool:
            for row, image in enumerate(pool.map(self._decode, flat)):
                images[row] = image
        return images.reshape(*chosen.shape, *self.shape[1:])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("Image files cannot become an array without a copy.")
        images = self[:]
        return images if dtype is None else images.astype(dtype, copy=False)

    def __repr__(self) -> str:
        return f"ImageFiles({str(self.root)!r}, shape={self.shape})"

    def subset(self, rows: np.ndarray) -> ImageFiles:
        """Returns the files of the given rows, decoding none."""
        part = object.__new__(type(self))
        part.root, part.image_size = self.root, self.image_size
        part._paths, part._bytes = self._paths[rows], self._bytes[rows]
        return part

    def digest(self) -> bytes:
        """Returns a SHA-256 over the relative paths and the file sizes; no image is read."""
        digest = hashlib.sha256()
        for path in self._paths:
            digest.update(path.encode() + b"\0")
        digest.update(self._bytes.astype("<i8").tobytes())
        return digest.digest()

    def _file_sizes(self) -> np.ndarray:
        sizes = np.empty(len(self), np.int64)
        starts = range(0, len(self), _STAT_ROWS)
        with ThreadPoolExecutor(_THREADS) as pool:
            for start in progress_bar(starts, description="looking up images", unit="batch"):
                part = self._paths[start : start + _STAT_ROWS]
                sizes[start : start + len(part)] = list(pool.map(self._file_size, part))
        return sizes

    def _file_size(self, path: str) -> int:
        try:
            status = os.stat(self.root / path)
        except (OSError, ValueError) as error:  # a path with a null character is a ValueError
            raise InputError(f"Cannot find the image {path!r} in {self.root}: {error}") from error
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"The image {path!r} in {self.root} is not a file.")
        return status.st_size

    def _decode(self, path: str) -> np.ndarray:
        from PIL import Image

        try:
            with Image.open(self.root / path, formats=IMAGE_FORMATS) as image:
                limit = Image.MAX_IMAGE_PIXELS
                if limit is not None and image.width * image.height > limit:
                    raise ValueError(f"it has more than {limit} pixels")
                side = (self.image_size, self.image_size)
                return np.asarray(image.convert("RGB").resize(side, Image.Resampling.BILINEAR))
        except Exception as error:  # Pillow's readers fail in many ways on damaged files
            raise InputError(f"Cannot read the image {self.root / path}: {error}") from error


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
    _check_options(data_seed, image_size)
    root = _folder(root)
    names: tuple[str, ...] = _CLOTHES
    if (root / "category_names_eng.txt").exists():
        names = tuple(line for _, line in _lines(root / "category_names_eng.txt"))
        if len(set(names)) != len(_CLOTHES) or len(names) != len(_CLOTHES):
            raise invalid("category_names_eng.txt", f"{len(_CLOTHES)} different names", ", ".join(names))
    noisy, clean = (_label_table(root / f"{kind}_label_kv.txt", len(names)) for kind in ("noisy", "clean"))
    lists = {
        part: _keyed(root / file, labels)
        for part, file, labels in (
            ("train", "noisy_train_key_list.txt", noisy),
            ("validation", "clean_val_key_list.txt", clean),
            ("test", "clean_test_key_list.txt", clean),
        )
    }
    lists["train"] = _drawn(*lists["train"], train_rows, data_seed)
    parts: dict[str, tuple[Any, np.ndarray]] = {
        part: (ImageFiles(root, paths, image_size or IMAGE_SIZE), labels) for part, (paths, labels) in lists.items()
    }
    return _assemble("clothing1m", parts, list(names), np.array(lists["train"][0], dtype=object))


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
    _check_options(data_seed, image_size)
    root = _folder(root)
    size = image_size or IMAGE_SIZE
    names = _synset_names(root / "info" / "synsets.txt")
    kept = min(len(names), _MINI_CLASSES) if mini else len(names)
    paths: list[str] = []
    labels: list[int] = []
    for part in ("google",) if mini else ("google", "flickr"):
        for _, path, label in _labelled(root / "info" / f"train_filelist_{part}.txt", len(names)):
            if label < kept:
                paths.append(path)
                labels.append(label)
    held_out = [
        (path, label) for _, path, label in _labelled(root / "info" / "val_filelist.txt", len(names)) if label < kept
    ]
    for file, found in (("train_filelist_google.txt", paths), ("val_filelist.txt", held_out)):
        if not found:
            raise invalid(file, f"at least one row of the classes 0..{kept - 1}", "none")
    paths, train_labels = _drawn(paths, np.array(labels), train_rows, data_seed)
    images = ImageFiles(root / "val_images_256", [path for path, _ in held_out], size)
    parts: dict[str, tuple[Any, np.ndarray]] = {"train": (ImageFiles(root, paths, size), train_labels)}
    # Row numbers are halved in place of images: to index image files is to decode them.
    halves = _halve(np.arange(len(held_out)), np.array([label for _, label in held_out]), data_seed)
    parts |= {part: (images.subset(rows), half) for part, (rows, half) in halves.items()}
    return _assemble("mini-webvision" if mini else "webvision", parts, names[:kept], np.array(paths, dtype=object))


def _folder(root: str | os.PathLike[str]) -> Path:
    if not os.fspath(root) or not Path(root).is_dir():
        raise invalid("data", "an existing folder", os.fspath(root))
    return Path(root)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yields the lines of a text file that are not blank, with their numbers (from 1)."""
    if not path.is_file():
        raise invalid("data", "an existing list", str(path))
    empty = True
    try:
        with open(path, encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if line := line.strip():
                    empty = False
                    yield number, line
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"Cannot read the list {path}: {error}") from error
    if empty:
        raise invalid(path.name, "at least one line", "an empty list")


def _leaves(path: str) -> bool:
    """Whether a relative path is absolute or climbs out of its folder, on any operating system."""
    slashed = path.replace("\\", "/")
    return slashed.startswith("/") or slashed[1:2] == ":" or ".." in slashed.split("/")


def _checked_path(file: Path, number: int, path: str) -> str:
    if _leaves(path):
        raise invalid(f"{file.name}, line {number}", "a path inside the data set's folder", path)
    return path


def _labelled(file: Path, num_classes: int) -> Iterator[tuple[int, str, int]]:
    """Yields line number, path and label of the lines "path label"."""
    for number, line in _lines(file):
        place = f"{file.name}, line {number}"
        path, _, text = line.replace("\t", " ").rpartition(" ")
        try:
            label = int(text)
        except ValueError:
            raise invalid(place, "a path and an integer label, with a space between them", line) from None
        if not path.strip():
            raise invalid(place, "a path and an integer label, with a space between them", line)
        if not 0 <= label < num_classes:
            raise invalid(place, f"a label in 0..{num_classes - 1}", label)
        yield number, _checked_path(file, number, path.strip()), label


def _label_table(file: Path, num_classes: int) -> dict[str, int]:
    labels: dict[str, int] = {}
    for number, path, label in _labelled(file, num_classes):
        if labels.setdefault(path, label) != label:
            raise invalid(f"{file.name}, line {number}", f"one label a path ({path} has {labels[path]} above)", label)
    return labels


def _keyed(file: Path, labels: dict[str, int]) -> tuple[list[str], np.ndarray]:
    """Reads a list of paths and looks up their labels."""
    paths: list[str] = []
    found: list[int] = []
    for number, line in _lines(file):
        path = _checked_path(file, number, line)
        if path not in labels:
            raise invalid(f"{file.name}, line {number}", "a path that has a label", path)
        paths.append(path)
        found.append(labels[path])
    return paths, np.array(found)


def _synset_names(file: Path) -> list[str]:
    """Reads the first name of every class; a name that two classes share gets their identifiers behind it."""
    found: list[tuple[str, str]] = []
    for number, line in _lines(file):
        identifier, _, rest = line.partition(" ")
        name = rest.split(",")[0].strip()
        if not name:
            raise invalid(f"{file.name}, line {number}", "an identifier and a name, with a space between them", line)
        found.append((identifier, name))
    counts = Counter(name for _, name in found)
    return [name if counts[name] == 1 else f"{name} ({identifier})" for identifier, name in found]


def _drawn(paths: list[str], labels: np.ndarray, train_rows: int | None, seed: int) -> tuple[list[str], np.ndarray]:
    """Draws the training rows to keep, before anything is looked up on disk."""
    if train_rows is None:
        return paths, labels
    rows = _draw_rows(len(paths), train_rows, seed)
    return [paths[row] for row in rows], labels[rows]
