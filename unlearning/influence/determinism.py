"""Whether model and data answer alike when they are asked twice, which everything here takes for granted.

Features are computed once and then taken for what the model sees; a gradient difference subtracts two passes over the
same rows; conjugate gradients solve with one matrix. A layer that draws in inference mode (one whose own `call` passes
`training=True` on), a normalisation that still takes its statistics from the batch, or images that change from one
reading to the next make every such product one of something else, without an error anywhere. So a few rows are asked
first.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from unlearning.errors import InputError
from unlearning.interop import has_graph, inference_arguments

_ROWS = 8
_TOLERANCE = 1e-3
"""Of the largest value; an operation that adds up in another order moves float32 numbers a thousandth of that."""


def check_images(images: np.ndarray) -> None:
    """Reads a few rows again, and in another order.

    Args:
        images: Array of shape `(rows, ...)`, or what is indexed like one.

    Raises:
        InputError: If a row number does not give the same row.
    """
    rows = np.unique(np.linspace(0, len(images) - 1, _ROWS, dtype=np.int64))
    first = np.asarray(images[rows])
    for order in (rows, rows[::-1]):
        again = np.asarray(images[order])
        for row, one in zip(order, again, strict=True):
            if not np.array_equal(first[np.searchsorted(rows, row)], one, equal_nan=one.dtype.kind == "f"):
                raise InputError(
                    "images",
                    "the same image whenever a row is read (no shuffling, no augmentation)",
                    f"two of row {row}",
                )


def check_model(model: keras.Model, images: np.ndarray) -> None:
    """Asks a model about a few rows twice, and about half of them alone.

    Args:
        model: The model; layers that draw change nothing but their own random state.
        images: Array of shape `(rows, ...)`.

    Raises:
        InputError: If the answers differ; the message names the layer, where the model has a graph.
    """
    few = np.asarray(images[:_ROWS], dtype=np.float32)
    outputs, names = _layer_outputs(model)
    single = outputs and len(model.inputs) == 1
    probe = keras.Model(model.inputs[0] if single else model.inputs, outputs) if outputs else model
    options = inference_arguments(model)

    def ask(rows: np.ndarray) -> list[np.ndarray]:
        return [keras.ops.convert_to_numpy(found) for found in keras.tree.flatten(probe(rows, **options))]

    first = ask(few)
    advice = "Gradients and curvature would be those of another model at every pass."
    for name, one, other in zip(names, first, ask(few), strict=True):
        if not _alike(one, other):
            raise InputError(
                f"The model answers differently when it is asked twice about the same rows, in inference mode: {name} "
                f"draws at random. {advice} Let its call pass `training` on, or take it out."
            )
    half = max(1, len(few) // 2)
    for name, one, other in zip(names, first, ask(few[:half]), strict=True):
        if len(one) == len(few) and not _alike(one[:half], other):
            raise InputError(
                f"The model's answer about a row depends on the other rows of its batch, in inference mode: {name} "
                f"mixes them. {advice} Let its call pass `training` on."
            )


def _layer_outputs(model: keras.Model) -> tuple[list[Any], list[str]]:
    """Returns what each layer of a graph puts out, in order, with its name; of other models nothing but a name."""
    if not has_graph(model):
        return [], [f"{type(model).__name__}.call"]
    found: dict[int, tuple[Any, str]] = {}
    graph = getattr(model, "_functional", model)
    # Of the calls in this graph: a nested model, or a shared layer, has outputs in other graphs, too.
    for depth in sorted(graph._nodes_by_depth, reverse=True):
        for node in graph._nodes_by_depth[depth]:
            if not isinstance(node.operation, keras.layers.InputLayer):
                for tensor in node.outputs:
                    found.setdefault(id(tensor), (tensor, f"layer {node.operation.name!r}"))
    return [tensor for tensor, _ in found.values()], [name for _, name in found.values()]


def _alike(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two answers are equal but for rounding."""
    if one.dtype.kind not in "fc":
        return np.array_equal(one, other)
    one, other = one.astype(np.float64), other.astype(np.float64)
    largest = float(np.max(np.abs(one), where=np.isfinite(one), initial=0.0))
    return bool(np.allclose(one, other, rtol=_TOLERANCE, atol=_TOLERANCE * largest, equal_nan=True))
