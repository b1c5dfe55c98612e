"""Rows that come in batches, as `tf.data.Dataset` and `keras.utils.PyDataset` give them, as arrays.

They are read once, in their own order, which numbers the rows. What is more than a quarter of the free memory goes to a
temporary file and is read from there.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from unlearning.data.streamed.on_disk import RowsOnDisk
from unlearning.errors import InputError
from unlearning.memory import available_memory

_SHARE = 4


def is_batched(data: Any) -> bool:
    """Whether data come in batches."""
    if hasattr(data, "element_spec") and hasattr(data, "as_numpy_iterator"):
        return True
    import keras

    return isinstance(data, keras.utils.PyDataset)


def gather(data: Any) -> tuple[Any, np.ndarray]:
    """Reads all batches.

    Args:
        data: A `tf.data.Dataset` of batches `(inputs, labels)`, or a `PyDataset` of them. What is shuffled anew
            at every pass is read in the order of one pass.

    Returns:
        Inputs and labels, an array or rows on disk, and int64 classes.

    Raises:
        InputError: If the batches are no pairs of one array and its labels, or there is no end of them.
    """
    kept: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    limit, held, file, rows = available_memory() // _SHARE, 0, None, 0
    for batch in _batches(data):
        if not isinstance(batch, tuple | list) or len(batch) < 2 or isinstance(batch[0], dict | tuple | list):
            raise InputError("data", "batches (inputs, labels) with one array of inputs", type(batch).__name__)
        inputs, given = np.asarray(batch[0]), np.asarray(batch[1])
        if len(inputs) != len(given):
            raise InputError("data", "batches with one label a row", f"{len(inputs)} rows, {len(given)} labels")
        if kept and inputs.shape[1:] != kept[0].shape[1:]:
            raise InputError("data", f"rows of one shape, {kept[0].shape[1:]}", inputs.shape[1:])
        labels.append(as_classes(given))
        held, rows = held + inputs.nbytes, rows + len(inputs)
        kept.append(inputs)
        if file is None and held > limit:
            file = tempfile.NamedTemporaryFile(prefix="rows-")  # noqa: SIM115  # it lives as long as the rows
        if file is not None:
            for part in kept:
                file.write(np.ascontiguousarray(part).data)
            kept = [inputs[:0]]
    if not rows:
        raise InputError("data", "at least one batch", "none")
    classes = np.concatenate(labels)
    if file is None:
        return np.concatenate(kept), classes
    file.flush()
    stored = RowsOnDisk(file.name, kept[0].dtype, (rows, *kept[0].shape[1:]), 0)
    stored.file = file  # type: ignore[attr-defined]  # removed with the last who reads it
    return stored, classes


def _batches(data: Any) -> Iterable[Any]:
    if hasattr(data, "as_numpy_iterator"):
        if int(data.cardinality()) == -1:
            raise InputError("data", "a data set that ends (without repeat())", "one without an end")
        return data.as_numpy_iterator()
    if data.num_batches is None:
        raise InputError("data", "a data set that ends", "one without an end")
    return _numbered(data)


def _numbered(data: Any) -> Iterator[Any]:
    for number in range(data.num_batches):
        yield data[number]


def as_classes(labels: Any) -> np.ndarray:
    """Returns labels as classes: integers, whole numbers in one column, or rows with a single one (one-hot).

    Args:
        labels: Array of shape `(rows,)`, `(rows, 1)` or `(rows, classes)`.

    Returns:
        int64 array `(rows,)`; what is none of these is returned as it is.

    Raises:
        InputError: If rows have several labels, or none.
    """
    labels = np.asarray(labels)
    if labels.ndim == 2 and labels.shape[1] > 1 and np.isin(labels, (0, 1)).all():
        if (labels.sum(axis=1) != 1).any():
            raise InputError(
                "labels", "one label a row", "rows with several or none (multi-label data cannot be repaired)"
            )
        return labels.argmax(axis=1).astype(np.int64)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim == 1 and labels.dtype.kind in "fb" and np.array_equal(labels, np.floor(labels)):
        return labels.astype(np.int64)
    return labels
