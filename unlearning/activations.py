"""What enters the part of a model that may move, computed once.

Below its boundary a model runs in inference mode and stays as it is, so its activations are data. They are kept in
float16, in memory or, above a limit, in a temporary file of which only what is read is in memory.
"""

from __future__ import annotations

import dataclasses
import inspect
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unlearning import feeding
from unlearning.errors import InputError
from unlearning.interop import ALL, Parts, between, choose_boundary, cut, has_graph
from unlearning.profiling import spending
from unlearning.task import Split

if TYPE_CHECKING:
    import keras

MEMORY_LIMIT_BYTES = 2**30
"""Size of a table of activations above which it lives on disk."""

_ROWS = 512


class UpperPart:
    """The part of a model above a boundary, as a model of its own that takes activations.

    Args:
        parts: The model, cut at the boundary.
        layer: Name of the layer in front of which it is cut.
        dtype: In which activations are kept.
        memory_limit_bytes: Activations of one split above this size live on disk, for as long as this object does.

    Attributes:
        model: The part, which shares its weights with the whole.
        layer: Where it is cut.
    """

    def __init__(
        self,
        parts: Parts,
        layer: str = "",
        *,
        dtype: str = "float16",
        memory_limit_bytes: int = MEMORY_LIMIT_BYTES,
    ) -> None:
        self._below, self.model = parts
        self.layer = layer
        self._dtype, self._limit = dtype, memory_limit_bytes
        self._folders: list[tempfile.TemporaryDirectory[str] | None] = []

    def activations(self, images: Any) -> np.ndarray:
        """Returns what enters the part, shape `(rows, ...)`; in float32 where the dtype cannot hold it."""
        found, largest = self._compute(images, self._dtype)
        if largest > float(np.finfo(self._dtype).max):
            found, _ = self._compute(images, "float32")
        return found

    @spending("features")
    def _compute(self, images: Any, dtype: str) -> tuple[np.ndarray, float]:
        rows, shape = len(images), tuple(self._below.output_shape[1:])
        table, folder = new_table((rows, *shape), dtype, self._limit)
        self._folders.append(folder)
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


@dataclasses.dataclass(frozen=True, eq=False)
class Movable:
    """What of a model is trained, and rows as it takes them.

    Attributes:
        model: The whole model with the layers below its boundary frozen, or a part that shares its weights.
        layer: The first layer that moves; `"all"` where every one does.
        upper: The part, where its activations are computed once; None where it takes images.
    """

    model: keras.Model
    layer: str
    upper: UpperPart | None = None

    def rows(self, split: Split) -> Split:
        """Returns rows as the trained model takes them: with activations in place of images, or as they are."""
        return split if self.upper is None else Split(self.upper.activations(split.images), split.labels)


def movable(model: keras.Model, boundary: str | None, *, cached: bool) -> Movable:
    """Prepares a model for training above a boundary.

    Args:
        model: A built model that may be changed: where nothing is cached, layers below the boundary are frozen in it.
        boundary: A name as `choose_boundary` takes it; None for `"all"`.
        cached: Whether to compute the activations below the boundary once; not where images are augmented.

    Returns:
        What to train.

    Raises:
        InputError: If there is no such layer, or not every path to the output passes through it.
    """  # noqa: DOC502 (by `choose_boundary` and `upper_part`)
    layer = choose_boundary(model, boundary or ALL)
    upper = upper_part(model, layer) if cached else None
    if upper is not None:
        return Movable(upper.model, layer, upper)
    names = [each.name for each in model.layers]
    for each in model.layers[: 0 if layer == ALL else names.index(layer)]:
        each.trainable = False
    return Movable(model, layer)


def upper_part(model: keras.Model, layer: str, *, dtype: str = "float16") -> UpperPart | None:
    """Returns the part of a model from a layer on.

    Passes on an `InputError` if not every path to the output passes through the layer.

    Args:
        model: A built model.
        layer: Name of a layer, or `"all"`.
        dtype: In which activations are kept.

    Returns:
        The part; None where nothing below it can be computed once: for `"all"` and the first layer, for a model without
        a graph, and where a mask crosses the boundary.
    """
    if layer == ALL or not has_graph(model) or model.layers[0].name == layer:
        return None
    if model.layers[1].name == layer and type(model.layers[0]).__name__ == "InputLayer":
        return None
    place = _behind_what_is_fixed(model, layer)
    parts = cut(model, model.get_layer(place))
    return None if parts is None else UpperPart(parts, place, dtype=dtype)


def part_between(model: keras.Model, lower: UpperPart, upper: UpperPart) -> UpperPart | None:
    """Returns what makes the activations of an upper boundary out of those of a lower one.

    Args:
        model: The whole model.
        lower: Its part above the lower boundary.
        upper: Its part above the upper boundary.

    Returns:
        The upper part, on the activations of the lower one; None where the two are no such pair.
    """
    below = between(model, lower.layer, upper.layer)
    return None if below is None else UpperPart(Parts(below, upper.model), upper.layer)


def _behind_what_is_fixed(model: keras.Model, layer: str) -> str:
    """Passes over layers that do the same to a row at every time, such as pooling: they can run below, once.

    Of two layers next to each other in front of which the model can be cut, the second one has nothing but the first
    below it that the first one has not.

    Args:
        model: A model with a graph.
        layer: Name of a layer.

    Returns:
        Its name, or that of a later layer which gets no more numbers a row.
    """
    layers = model.layers
    first = number = [each.name for each in layers].index(layer)
    while number + 1 < len(layers) and _is_fixed(layers[number]):
        try:
            if cut(model, layers[number + 1]) is None:
                break
        except InputError:
            break
        number += 1
    if number == first or np.prod(layers[number].input.shape[1:]) > np.prod(layers[first].input.shape[1:]):
        return layer
    return layers[number].name


def _is_fixed(layer: keras.layers.Layer) -> bool:
    """Whether a layer is one of Keras' own that has no state and draws nothing."""
    own = type(layer).__module__.startswith("keras.") and type(layer).__name__ != "Lambda"
    return own and not layer.variables and "training" not in inspect.signature(layer.call).parameters


def new_table(
    shape: tuple[int, ...], dtype: str, limit: int
) -> tuple[np.ndarray, tempfile.TemporaryDirectory[str] | None]:
    """Makes an empty table of rows.

    Args:
        shape: Its shape.
        dtype: What it holds.
        limit: Bytes above which it lives in a temporary file.

    Returns:
        The table, and the folder of its file, which goes with that object; None of a table in memory.
    """
    if int(np.prod(shape)) * np.dtype(dtype).itemsize <= limit:
        return np.empty(shape, dtype), None
    folder = tempfile.TemporaryDirectory(prefix="features-")
    return np.memmap(Path(folder.name) / "features", dtype=dtype, mode="w+", shape=shape), folder
