"""A table of feature rows (or images) that compiled loops read by row number, in memory or from disk.

Features of the frozen backbone are computed once and streamed into the table. Up to `memory_limit_bytes` it is one
tensor; above, a memory-mapped temporary file of which only the rows of the current batch are in memory.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from unlearning.activations import MEMORY_LIMIT_BYTES, new_table
from unlearning.errors import InputError
from unlearning.influence.head import Head
from unlearning.progress import progress_bar

_FORWARD_ROWS = 512


class _Stacked:
    """Arrays stacked one below the other, without a copy of them."""

    def __init__(self, parts: Sequence[np.ndarray]) -> None:
        self._parts = parts
        self._starts = np.cumsum([0, *(len(part) for part in parts)])
        self.shape = (int(self._starts[-1]), *parts[0].shape[1:])
        self.dtype = np.result_type(*(part.dtype for part in parts))
        self.nbytes = int(np.prod(self.shape)) * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        values = np.empty((len(rows), *self.shape[1:]), self.dtype)
        owners = np.searchsorted(self._starts, rows, side="right") - 1
        for owner in np.unique(owners):
            here = owners == owner
            values[here] = self._parts[owner][rows[here] - self._starts[owner]]
        return values

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.concatenate(self._parts, dtype=dtype)


class RowStore:
    """Rows of one fixed shape, served by number inside or outside of a compiled graph.

    Args:
        array: Array of shape `(rows, ...)`; a memory map stays on disk, and other arrays that are read from disk are
            decoded once if they fit below the limit.
        dtype: The dtype in which rows are served.
        memory_limit_bytes: Arrays above this size are read batch by batch instead of being held as one tensor.

    Attributes:
        rows: Number of rows.
    """

    def __init__(self, array: np.ndarray, dtype: tf.DType, memory_limit_bytes: int = MEMORY_LIMIT_BYTES) -> None:
        self.rows = len(array)
        self._dtype = dtype
        self._shape = array.shape[1:]
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        on_disk = isinstance(array, np.memmap) or array.nbytes > memory_limit_bytes
        self._array = array if on_disk else None
        self._tensor = None if on_disk else tf.constant(np.asarray(array))

    @property
    def in_memory(self) -> bool:
        """Whether the rows are held as one tensor."""
        return self._tensor is not None

    def fetch(self, rows: tf.Tensor) -> tf.Tensor:
        """Returns the rows with the given int64 numbers, shape `(len(rows), ...)`, cast to the serving dtype."""
        if self._tensor is not None:
            return tf.cast(tf.gather(self._tensor, rows), self._dtype)
        array = self._array
        assert array is not None
        values = tf.numpy_function(lambda index: np.asarray(array[index]), [rows], tf.as_dtype(array.dtype))
        values.set_shape((None, *self._shape))
        return tf.cast(values, self._dtype)

    @classmethod
    def from_images(
        cls,
        head: Head,
        parts: Sequence[np.ndarray],
        *,
        feature_dtype: str = "float32",
        memory_limit_bytes: int = MEMORY_LIMIT_BYTES,
        description: str = "features",
    ) -> RowStore:
        """Builds the table of what the head takes in: features where they are cached, the images themselves where not.

        Args:
            head: The head; its backbone is run once over every image.
            parts: Arrays of images, stacked one below the other.
            feature_dtype: `"float32"`, or `"float16"` for half the space.
            memory_limit_bytes: Above this size the features go to a memory-mapped temporary file.
            description: What the progress bar says.

        Returns:
            The table; its temporary file, if any, is removed with it.

        Raises:
            InputError: If there is no such dtype of features.
        """
        if feature_dtype not in ("float32", "float16", "float64"):
            raise InputError("feature_dtype", "'float32', 'float16' or 'float64'", feature_dtype)
        total = sum(len(part) for part in parts)
        if not head.is_cached:
            images: Any = parts[0] if len(parts) == 1 else _Stacked(parts)
            return cls(images, head.dtype, memory_limit_bytes)
        shape = (total, *head.feature_shape)
        features, folder = new_table(shape, feature_dtype, memory_limit_bytes)
        forward = tf.function(lambda x: head.features(tf.cast(x, head.dtype)), reduce_retracing=True, autograph=False)
        batches = [(part, start) for part in parts for start in range(0, len(part), _FORWARD_ROWS)]
        done = 0
        for part, start in progress_bar(batches, description=description, unit="batch"):
            values = forward(tf.constant(part[start : start + _FORWARD_ROWS])).numpy()
            features[done : done + len(values)] = values
            done += len(values)
        store = cls(features, head.dtype, memory_limit_bytes)
        store._folder = folder
        return store
