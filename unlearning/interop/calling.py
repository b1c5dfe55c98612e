"""How a model is called, and whether it can be looked into."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras


def inference_arguments(model: keras.Model) -> dict[str, bool]:
    """Returns the keyword arguments that call a model in inference mode; a subclassed `call` may know none."""
    takes_training = has_graph(model) or "training" in inspect.signature(model.call).parameters
    return {"training": False} if takes_training else {}


def has_graph(model: keras.Model) -> bool:
    """Whether a model is Sequential or functional, so that it can be cut at a layer."""
    import keras

    return isinstance(model, keras.Sequential) or hasattr(model, "operations")
