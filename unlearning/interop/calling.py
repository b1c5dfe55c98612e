"""How a model is called, whether it can be looked into, and how to listen while it is called."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator, Sequence
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


@contextlib.contextmanager
def observing(
    layers: Sequence[keras.layers.Layer], wrap: Callable[[keras.layers.Layer, Callable], Callable]
) -> Iterator[None]:
    """Puts a function around the `call` of layers for as long as the context lasts.

    This reaches layers at any depth, in functional, Sequential and subclassed models alike, without building another
    model; it works on eager calls.

    Args:
        layers: The layers.
        wrap: Returns the function that replaces a layer's `call`, given the layer and the original.
    """
    originals = [(layer, layer.__dict__.get("call")) for layer in layers]
    try:
        for layer in layers:
            # Past Keras' own attribute tracking: this is no state of the layer.
            object.__setattr__(layer, "call", wrap(layer, layer.call))
        yield
    finally:
        for layer, own in originals:
            layer.__dict__.pop("call", None)
            if own is not None:
                object.__setattr__(layer, "call", own)
