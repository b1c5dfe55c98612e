"""Reading the one column that a binary classifier may put out; see `unlearning.interop.binary`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from unlearning.interop.calling import has_graph

if TYPE_CHECKING:
    import keras


def has_one_output(model: keras.Model) -> bool:
    """Whether a graph puts out one number a row."""
    return has_graph(model) and model.built and isinstance(model.output_shape, tuple) and model.output_shape[1:] == (1,)


def two_columns(scores: np.ndarray, model: keras.Model | None = None) -> np.ndarray:
    """Returns the scores of a binary classifier with one output as those of two classes; others as they are.

    Args:
        scores: Array of shape `(rows, outputs)`.
        model: What put them out, where its graph may say whether they are probabilities; else their range does.

    Returns:
        `(1 - p, p)` of probabilities, `(-z / 2, z / 2)` of logits.
    """
    if scores.ndim != 2 or scores.shape[1] != 1:
        return scores
    return np.concatenate([1 - scores, scores] if is_closed(scores, model) else [-scores / 2, scores / 2], axis=1)


def is_closed(scores: np.ndarray, model: Any) -> bool:
    """Whether a column holds probabilities: where a graph says so, or, where it does not tell, where all could be."""
    last = last_unit(model) if model is not None and has_graph(model) else None
    if last is not None:
        return last[1]
    return bool(scores.size and scores.min() >= 0 and scores.max() <= 1)


def last_unit(model: Any) -> tuple[tuple[Any, ...], bool] | None:
    """The dense layer of one unit that a graph ends with, what follows it, and whether that is a sigmoid.

    Returns:
        The layer and what stands behind it, and whether probabilities come out; None where it does not end so.
    """
    import keras

    if not has_one_output(model):
        return None
    sigmoid, linear = keras.activations.sigmoid, keras.activations.linear
    behind: list[Any] = []
    tensor = model.outputs[0]
    while True:
        operation, number, _ = tensor._keras_history
        node = operation._inbound_nodes[number]
        if node.is_input or len(node.input_tensors) != 1:
            return None
        if isinstance(operation, keras.Model) and has_graph(operation):
            tensor = operation.outputs[0]
            continue
        activation = getattr(operation, "activation", None)
        if type(operation) is keras.layers.Dense and operation.units == 1 and activation in (sigmoid, linear):
            if activation is sigmoid and any(getattr(one, "activation", None) is sigmoid for one in behind):
                return None
            closed = any(getattr(one, "activation", None) is sigmoid for one in (operation, *behind))
            return (operation, *behind), closed
        if (
            type(operation) is keras.layers.Activation
            and activation in (sigmoid, linear)
            and tuple(tensor.shape[1:]) == (1,)
        ):
            behind.append(operation)
            tensor = node.input_tensors[0]
            continue
        return None
