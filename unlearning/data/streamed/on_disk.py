"""Rows in a `.npy` file that are read when they are asked for: sets that do not fit into memory.

They are read, not mapped: pages of a mapped file count as memory of the process, and a mapping as its address space.
"""

from __future__ import annotations

import hashlib
import math
import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from unlearning.errors import InputError, one_line

CHUNK_BYTES = 32 * 2**20
"""So much is read at once where a whole set is looked through."""


class RowsOnDisk:
    """The rows of an array in a file, as a read-only array; only those asked for are read.

    Indexing by a number, a slice, an integer array or a mask returns what `np.asarray(rows)[index]` would, as a fresh
    array.

    Args:
        path: The file.
        dtype: Type of its numbers.
        shape: Shape of the array, rows first, in C order.
        offset: Where it begins in the file, in bytes.

    Raises:
        InputError: If the file is shorter than it would have to be.

    Example:
        >>> np.save("rows.npy", np.arange(12.0).reshape(4, 3))
        >>> rows = open_rows("rows.npy")
        >>> rows.shape, rows[[2, 0]].tolist(), rows.subset(np.array([3]))[0].tolist()
        ((4, 3), [[6.0, 7.0, 8.0], [0.0, 1.0, 2.0]], [9.0, 10.0, 11.0])
    """

    def __init__(self, path: str | os.PathLike[str], dtype: Any, shape: tuple[int, ...], offset: int) -> None:
        self.path, self.dtype, self._offset = Path(path), np.dtype(dtype), offset
        self._inner = tuple(shape[1:])
        self._numbers = np.arange(shape[0])
        self._row_bytes = math.prod(self._inner) * self.dtype.itemsize
        if self.path.stat().st_size < offset + shape[0] * self._row_bytes:
            raise InputError(f"{self.path} is shorter than its shape {shape} says.")

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows first."""
        return (len(self._numbers), *self._inner)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return 1 + len(self._inner)

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Memory that all rows would take."""
        return self.size * self.dtype.itemsize

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: Any) -> np.ndarray:
        chosen = self._numbers[index]  # NumPy decides what an index means
        flat = np.atleast_1d(chosen).ravel()
        found = np.empty((len(flat), *self._inner), self.dtype)
        if found.size:
            raw = found.reshape(len(flat), -1).view(np.uint8)
            breaks = np.flatnonzero(np.diff(flat) != 1) + 1
            with self.path.open("rb", buffering=0) as file:
                for start, end in zip([0, *breaks], [*breaks, len(flat)], strict=True):
                    file.seek(self._offset + int(flat[start]) * self._row_bytes)
                    _fill(file, memoryview(raw[start:end].data).cast("B"))
        return found[0] if np.ndim(chosen) == 0 else found.reshape(*np.shape(chosen), *self._inner)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("Rows on disk cannot become an array without a copy.")
        rows = self[:]
        return rows if dtype is None else rows.astype(dtype, copy=False)

    def __repr__(self) -> str:
        return f"RowsOnDisk({str(self.path)!r}, shape={self.shape})"

    def subset(self, rows: np.ndarray) -> RowsOnDisk:
        """Returns some rows, reading none."""
        part = object.__new__(type(self))
        part.__dict__.update(self.__dict__)
        part._numbers = self._numbers[rows]
        return part

    def digest(self) -> bytes:
        """Returns a SHA-256 over all rows."""
        digest = hashlib.sha256()
        for part in chunks(self):
            digest.update(np.ascontiguousarray(part).data)
        return digest.digest()


def _fill(file: Any, view: memoryview) -> None:
    """Reads until a buffer is full: one call may return less."""
    while view:
        read = file.readinto(view)
        if not read:
            raise InputError(f"{file.name} ends too early.")
        view = view[read:]


def open_rows(path: str | os.PathLike[str]) -> RowsOnDisk:
    """Opens a `.npy` file without reading its rows.

    Args:
        path: The file.

    Returns:
        Its rows.

    Raises:
        InputError: If it is none, holds Python objects, or is stored by columns.
    """
    try:
        with open(path, "rb") as file:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, by_columns, dtype = read(file)
            offset = file.tell()
    except (OSError, ValueError) as error:
        raise InputError(f"Cannot read {path} as a .npy file: {one_line(error)}") from error
    if dtype.hasobject or not shape or (by_columns and len(shape) > 1):
        raise InputError("data", "a .npy file of numbers, stored row by row", f"{path}: {dtype} of shape {shape}")
    return RowsOnDisk(path, dtype, shape, offset)


def from_mapping(array: Any) -> Any:
    """Returns a memory map of a whole file as rows on disk; any other array as it is."""
    whole = isinstance(array, np.memmap) and array.filename is not None and array.flags.c_contiguous
    if not whole or not isinstance(array.base, mmap.mmap):
        return array
    return RowsOnDisk(array.filename, array.dtype, array.shape, array.offset)


def chunks(array: Any) -> Iterator[np.ndarray]:
    """Yields an array in parts of a few megabytes, in order."""
    rows = max(1, CHUNK_BYTES // max(1, array.nbytes // max(1, len(array))))
    for start in range(0, len(array), rows):
        yield array[start : start + rows]
