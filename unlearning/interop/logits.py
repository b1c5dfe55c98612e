"""Where a classifier's probabilities come from, and the logits before them.

A logarithm of probabilities is no substitute: float16 has none below 6e-8, so that a wrong label of a memorised row has
no gradient, and bfloat16 has two digits. So the softmax is looked for where the model is described: in its graph, from
the output back, through layers that leave class scores as they are, and into nested models. What the numbers look like
decides only where there is no graph to read, or where it ends in a layer that nobody here knows.
"""

from __future__ import annotations

import dataclasses
import enum
from typing import TYPE_CHECKING, Any

import numpy as np

from unlearning.errors import InputError
from unlearning.interop.calling import has_graph
from unlearning.interop.models import (
    full_policy,
    in_full_precision,
    rebuild,
    score_few,
)

if TYPE_CHECKING:
    import keras


class Output(enum.Enum):
    """What a graph says that it puts out."""

    LOGITS = enum.auto()
    PROBABILITIES = enum.auto()
    SIGMOID = enum.auto()
    UNKNOWN = enum.auto()


@dataclasses.dataclass(frozen=True)
class Ending:
    """How a graph ends.

    Attributes:
        output: What it puts out.
        path: Of probabilities: the nested models that lead to the softmax, and what applies it. Empty where it cannot
            be taken off alone, because it is used at several places.
    """

    output: Output
    path: tuple[Any, ...] = ()


_LOGITS, _UNKNOWN = Ending(Output.LOGITS), Ending(Output.UNKNOWN)
# Keras' own layers and operations that put out sums, means or choices of what they take in: of logits, logits.
_COMBINE = {
    *("Add", "Average", "Concatenate", "Dropout", "GlobalAveragePooling1D", "GlobalAveragePooling2D", "Subtract"),
    *("GlobalMaxPooling1D", "GlobalMaxPooling2D", "Maximum", "Mean", "Rescaling", "Squeeze", "Flatten", "Reshape"),
}
_PASS = {"Activation", "Cast", "Flatten", "Identity", "Reshape", "GlobalAveragePooling2D", "GlobalMaxPooling2D"}


def as_logit_model(model: keras.Model, rows: Any = None) -> keras.Model:
    """Returns an independent copy of a classifier that outputs logits in full precision.

    The final softmax of a Sequential or functional model is taken off, wherever it stands: in the `activation` of the
    last layer, as a layer or an operation of its own, inside nested models, in front of casts. What computed in half
    precision computes in float32. Where no softmax can be reached, the copy puts out what the model does; see
    `gives_probabilities` and `read_logits`.

    Args:
        model: A classifier whose output has shape `(rows, classes)`.
        rows: Rows that it takes, to try the copy with; None to make a few up.

    Returns:
        The working copy. For Sequential and functional models it is of the same kind, with the same layers under the
        same names (a softmax is replaced by a linear activation), so that layers can be named, and weights copied,
        across both.

    Raises:
        InputError: If the output is not one row of at least two class scores per image, or if it is a sigmoid's; and if
            the copy predicts otherwise, as `copy_model` says.
    """
    shape = getattr(model, "output_shape", None) if has_graph(model) else None
    if shape is not None and (not isinstance(shape, tuple) or len(shape) != 2 or shape[-1] is None or shape[-1] < 2):
        raise InputError("model", "one output of shape (rows, classes) with at least two classes", shape)
    ending = find_ending(model)
    if ending.output is Output.SIGMOID:
        raise InputError(
            "model", "a softmax or logit output", "a sigmoid output, of which each column is a label alone"
        )
    path = ending.path
    opened: list[Any] = []

    def clone(layer: Any) -> Any:
        if path and layer is path[-1]:
            opened.append(_linear(layer))
            return opened[0]
        return type(layer).from_config(in_full_precision(layer.get_config()))

    def call(layer: Any, *inputs: Any, **options: Any) -> Any:
        return layer(*inputs) if layer in opened else layer(*inputs, **options)  # a Softmax layer has a mask, None

    return rebuild(model, clone, call, policy=full_policy(model.dtype_policy), rows=rows, opened=path)


def find_ending(model: keras.Model) -> Ending:
    """Reads off a model's graph whether it puts out logits or probabilities, and where these come from."""
    outputs = getattr(model, "outputs", None) if has_graph(model) else None
    return _follow(model, outputs[0]) if outputs and len(outputs) == 1 else _UNKNOWN


def gives_probabilities(model: keras.Model, images: np.ndarray, num_classes: int | None = None) -> bool:
    """Tells whether a classifier puts out probabilities rather than logits.

    Passes on an `InputError` if model and images do not fit each other.

    Args:
        model: The classifier.
        images: Array of shape `(rows, height, width, channels)`; a few are tried.
        num_classes: Number of classes, to see whether the two fit each other; None where that is known.

    Returns:
        True for probabilities, False for logits.
    """
    output = find_ending(model).output
    known = output in (Output.LOGITS, Output.PROBABILITIES)
    if known and num_classes is None:
        return output is Output.PROBABILITIES
    scores = score_few(model, images, num_classes)
    return output is Output.PROBABILITIES if known else outputs_probabilities(scores)


def outputs_probabilities(scores: np.ndarray) -> bool:
    """Tells whether rows of class scores look like probabilities (non-negative, each row summing to one).

    Args:
        scores: Array of shape `(rows, classes)`; sums may be off by a few roundings of its dtype.

    Returns:
        Whether they do; False where there are none.
    """
    tolerance = {"float16": 4e-3, "bfloat16": 3e-2}.get(scores.dtype.name, 1e-3)
    scores = np.asarray(scores, dtype=np.float64)
    return bool(scores.size and scores.min() >= 0 and np.allclose(scores.sum(axis=-1), 1, atol=tolerance))


def probability_floor(dtype: Any) -> float:
    """Returns a probability below which a dtype cannot tell one from nothing, finite as a logarithm and its inverse."""
    return {"float16": 2.0**-24, "float64": 1e-300}.get(str(dtype), 1e-37)


def read_logits(scores: Any, closed: bool) -> Any:
    """Returns class scores as logits, in float32 or better.

    Args:
        scores: What a model has just put out, a tensor of shape `(rows, classes)`.
        closed: Whether these are probabilities. Keras leaves the logits on what its softmax returns, so that they are
            at hand where the softmax is the last thing a model does; else the logarithm is taken, which differs from
            the logits by a constant a row, and is as precise as the probabilities are.
    """
    from keras import ops

    if closed:
        logits = getattr(scores, "_keras_logits", None)
        if logits is None:
            floor = probability_floor(scores.dtype if isinstance(scores.dtype, str) else scores.dtype.name)
            return ops.log(ops.maximum(_precise(scores), floor))
        scores = logits
    return _precise(scores)


def _precise(scores: Any) -> Any:
    import keras

    dtype = keras.backend.standardize_dtype(scores.dtype)
    return scores if dtype in ("float32", "float64") else keras.ops.cast(scores, "float32")


def _follow(model: Any, tensor: Any) -> Ending:
    """How the part of a graph that leads to a tensor ends."""
    import keras

    operation, number, _ = tensor._keras_history
    node = operation._inbound_nodes[number]
    if node.is_input:
        return _LOGITS
    if isinstance(operation, keras.Model) and has_graph(operation):
        ending = find_ending(operation)
        path = (operation, *ending.path) if ending.path and _is_used_once(model, operation) else ()
        return Ending(ending.output, path)
    kind, own = type(operation).__name__, type(operation).__module__.startswith("keras.")
    plain = len(node.input_tensors) == 1 and not any(
        isinstance(value, keras.KerasTensor) for value in node.arguments.kwargs.values()
    )
    if _applies_softmax(operation) and _is_over_classes(operation, tensor):
        return Ending(Output.PROBABILITIES, (operation,) if plain and _is_used_once(model, operation) else ())
    activation = getattr(operation, "activation", keras.activations.linear)
    if activation is keras.activations.sigmoid:
        return Ending(Output.SIGMOID)
    if not own or not _is_known(activation):
        return _UNKNOWN
    if kind in _PASS and plain and activation is keras.activations.linear:
        before = node.input_tensors[0]
        if [n for n in before.shape[1:] if n != 1] == list(tensor.shape[1:]) and before.shape[-1] == tensor.shape[-1]:
            return _follow(model, before)
    if kind in _COMBINE:
        # Of probabilities, neither a softmax nor anything that is sure to sum to one.
        parts = {_follow(model, part).output for part in node.input_tensors}
        return _LOGITS if parts == {Output.LOGITS} else _UNKNOWN
    weighted = isinstance(operation, keras.Layer) and bool(operation.weights)
    return _LOGITS if weighted or kind in ("Activation", "LogSoftmax") else _UNKNOWN


def _applies_softmax(operation: Any) -> bool:
    """Whether the last thing an operation does is a softmax."""
    import keras

    layers = keras.layers
    if type(operation).__name__ == "Softmax" and type(operation).__module__.startswith("keras."):
        return True
    ends = layers.Activation, layers.Dense, layers.EinsumDense, layers.Conv1D, layers.Conv2D, layers.Conv3D
    activation = getattr(operation, "activation", None)
    same = keras.activations.softmax, keras.ops.softmax
    return isinstance(operation, ends) and (
        any(activation is one for one in same) or isinstance(activation, layers.Softmax)
    )


def _is_over_classes(operation: Any, tensor: Any) -> bool:
    """Whether a softmax sums over the last axis."""
    inner = getattr(operation, "activation", None)
    axis = getattr(operation if inner is None else inner, "axis", -1)
    axes = tuple(axis) if isinstance(axis, list | tuple) else (axis,)
    return len(axes) == 1 and axes[0] in (-1, len(tensor.shape) - 1)


def _is_used_once(model: Any, operation: Any) -> bool:
    """Whether a graph has only one place for an operation, so that changing it there changes nothing else."""
    graph = getattr(model, "_functional", None) or model  # of a Sequential, or itself
    return sum(node.operation is operation for nodes in graph._nodes_by_depth.values() for node in nodes) == 1


def _is_known(activation: Any) -> bool:
    """Whether an activation is one of Keras' own functions, and no softmax."""
    import keras

    name = getattr(activation, "__name__", "")
    return name != "softmax" and getattr(keras.activations, name, None) is activation


def _linear(layer: Any) -> Any:
    """A clone of what applies a softmax, without it."""
    import keras

    if type(layer).__name__ == "Softmax":
        policy = getattr(layer, "dtype_policy", None)  # an operation has none
        dtype = None if policy is None else full_policy(policy)
        return keras.layers.Activation("linear", name=layer.name, dtype=dtype)
    return type(layer).from_config({**in_full_precision(layer.get_config()), "activation": "linear"})
