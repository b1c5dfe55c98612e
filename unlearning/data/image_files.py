"""Images that are read from disk when they are asked for: sets that do not fit into memory."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from unlearning.data.decoding import eight_bit, opened_image
from unlearning.errors import InputError
from unlearning.progress import progress_bar

IMAGE_SIZE = 224
"""Side in pixels to which images are resized by default."""

_THREADS = min(16, 2 * (os.cpu_count() or 1))
_STAT_ROWS = 4096


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
        >>> files = ImageFiles("photos", ["a.jpg", "b.jpg"], image_size=32)
        >>> files.shape, files[0].shape, files[[1, 0]].shape
        ((2, 32, 32, 3), (32, 32, 3), (2, 32, 32, 3))
    """

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(self, root: str | os.PathLike[str], paths: Sequence[str], image_size: int = IMAGE_SIZE) -> None:
        if image_size < 1:
            raise InputError("image_size", "a positive number of pixels", image_size)
        self.root = Path(root)
        self.image_size = image_size
        for path in paths:
            if leaves(path):
                raise InputError("paths", f"paths inside the folder {self.root}", path)
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

        side = (self.image_size, self.image_size)
        with opened_image(self.root / path) as image:
            return np.asarray(eight_bit(image, "RGB").resize(side, Image.Resampling.BILINEAR))


def leaves(path: str) -> bool:
    """Whether a relative path is absolute or climbs out of its folder, on any operating system."""
    slashed = path.replace("\\", "/")
    return slashed.startswith("/") or slashed[1:2] == ":" or ".." in slashed.split("/")
