"""Penultimate features: what a classifier's last dense layer takes in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from unlearning.errors import InputError
from unlearning.evaluation import predict
from unlearning.interop import has_graph

if TYPE_CHECKING:
    import keras


def last_dense(model: keras.Model) -> keras.layers.Dense:
    """Returns a classifier's last dense layer.

    Args:
        model: A Sequential or functional model.

    Returns:
        The layer.

    Raises:
        InputError: If the model is subclassed or has no dense layer at its top level.
    """
    import keras

    if not has_graph(model):
        raise InputError("model", "a Sequential or functional model, whose layers can be reached", type(model).__name__)
    for layer in reversed(model.layers):
        if isinstance(layer, keras.layers.Dense):
            return layer
    names = ", ".join(f"{layer.name} ({type(layer).__name__})" for layer in model.layers[-3:])
    expected = "a model with a Dense layer of its own, not inside a nested model (the detector patches needs none)"
    raise InputError("model", expected, f"... {names}")


def penultimate_features(model: keras.Model, images: np.ndarray, batch_size: int = 512) -> np.ndarray:
    """Returns the input of the model's last dense layer, in inference mode.

    Args:
        model: A Sequential or functional classifier; it is not changed.
        images: Array of shape `(rows, height, width, channels)`; one that is read from disk is indexed a batch at a
            time.
        batch_size: Rows a forward pass.

    Returns:
        float32 array of shape `(rows, features)`.

    Raises:
        InputError: If there is no such layer, or if it takes in more than one vector a row.
    """
    import keras

    layer = last_dense(model)
    graph = getattr(model, "_functional", model)
    # Of all its calls that which is nearest to the output: a layer may be shared, or have been called by other models.
    calls = (node for _, nodes in sorted(graph._nodes_by_depth.items()) for node in nodes if node.operation is layer)
    (boundary,) = next(calls).input_tensors
    if len(boundary.shape) != 2:
        raise InputError("model", f"one feature vector a row in front of layer {layer.name!r}", boundary.shape)
    return predict(keras.Model(model.inputs, boundary), images, batch_size)
