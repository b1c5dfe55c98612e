"""What enters the part of a model that may move, computed once.

Below its boundary a model runs in inference mode and stays as it is, so its activations are data. They are kept in
float16, in memory or, above a limit, in a temporary file of which only what is read is in memory.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unlearning import feeding
from unlearning.interop import ALL, cut, has_graph

if TYPE_CHECKING:
    import keras

MEMORY_LIMIT_BYTES = 2**30
"""Size of a table of activations above which it lives on disk."""

_ROWS = 512


class UpperPart:
    """The part of a model above a boundary, as a model of its own that takes activations.

    Args:
        model: The model whose weights move when those of the part do.
        layer: Name of the first layer of the part.
        dtype: In which activations are kept.
        memory_limit_bytes: Activations of one split above this size live on disk, for as long as this object does.

    Attributes:
        model: The part, which shares its weights with the whole.
    """

    def __init__(
        self, model: keras.Model, layer: str, *, dtype: str = "float16", memory_limit_bytes: int = MEMORY_LIMIT_BYTES
    ) -> None:
        parts = cut(model, model.get_layer(layer))
        assert parts is not None  # see `is_separable`
        self._below, self.model = parts
        self._dtype, self._limit = dtype, memory_limit_bytes
        self._folders: list[tempfile.TemporaryDirectory[str]] = []

    def activations(self, images: Any) -> np.ndarray:
        """Returns what enters the part, shape `(rows, ...)`; in float32 where the dtype cannot hold it."""
        found, largest = self._compute(images, self._dtype)
        if largest > float(np.finfo(self._dtype).max):
            found, _ = self._compute(images, "float32")
        return found

    def _compute(self, images: Any, dtype: str) -> tuple[np.ndarray, float]:
        rows, shape = len(images), tuple(self._below.output_shape[1:])
        table = self._table((rows, *shape), dtype)
        largest = 0.0
        block = max(_ROWS, _ROWS * (2**26 // max(1, 4 * _ROWS * int(np.prod(shape)))))
        for start in range(0, rows, block):
            stop = min(start + block, rows)

            def read(index: int, start: int = start, stop: int = stop) -> np.ndarray:
                first = start + index * _ROWS
                return np.asarray(images[first : min(first + _ROWS, stop)])

            values = np.asarray(feeding.predict(self._below, read, -(-(stop - start) // _ROWS)))
            largest = max(largest, float(np.abs(values).max(initial=0)))
            with np.errstate(over="ignore"):
                table[start:stop] = values
        return table, largest

    def _table(self, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        if int(np.prod(shape)) * np.dtype(dtype).itemsize <= self._limit:
            return np.empty(shape, dtype)
        folder = tempfile.TemporaryDirectory(prefix="activations-")
        self._folders.append(folder)
        return np.memmap(Path(folder.name) / "table", dtype=dtype, mode="w+", shape=shape)


def is_separable(model: keras.Model, layer: str) -> bool:
    """Returns whether there is something below a layer that can be computed once.

    Passes on an `InputError` if not every path to the output passes through the layer.

    Args:
        model: A built model.
        layer: Name of a layer, or `"all"`.

    Returns:
        False of `"all"` and of the first layer, of a model without a graph, and where a mask crosses the boundary.
    """
    if layer == ALL or not has_graph(model) or model.layers[0].name == layer:
        return False
    if model.layers[1].name == layer and type(model.layers[0]).__name__ == "InputLayer":
        return False
    return cut(model, model.get_layer(layer)) is not None
