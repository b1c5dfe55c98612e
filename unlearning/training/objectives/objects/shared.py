"""A model that trains somebody else's layers."""

from __future__ import annotations

from typing import Any

import keras

from unlearning.errors import InputError


class SharedLayersModel(keras.Model):
    """A functional model over the very layers of a given model: whoever trains it trains the given one.

    The given model is neither copied nor changed, and is what to save afterwards: it knows nothing of how it was
    trained. This model's own `save_weights` and `load_weights` are for resuming, and cover its extra state.

    Args:
        model: A built Sequential or functional model with one output.
    """

    def __init__(self, model: keras.Model) -> None:
        try:
            inputs: Any = model.inputs
            outputs: Any = model.outputs
        except (AttributeError, ValueError):  # a subclassed model, a Sequential without input shape, no model at all
            inputs = outputs = None
        if not inputs or not outputs or len(outputs) != 1:
            raise InputError(
                "model", "a built Sequential or functional Keras model with one output", type(model).__name__
            )
        super().__init__(inputs[0] if len(inputs) == 1 else inputs, outputs[0])
        self.dtype_policy = model.dtype_policy  # under mixed precision `compile` looks here for loss scaling
