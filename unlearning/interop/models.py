"""Copies of models, and what a model is like."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from unlearning.errors import InputError

if TYPE_CHECKING:
    import keras

_COARSE = ("float16", "bfloat16", "mixed_float16", "mixed_bfloat16")


def copy_model(model: keras.Model) -> keras.Model:
    """Returns an independent model with the same architecture, layer names and weights.

    Passes on an `InputError` if the model is not built or cannot be rebuilt from its configuration.

    Args:
        model: A built model: Sequential, functional, or subclassed with a working `get_config`.

    Returns:
        The copy, uncompiled.
    """
    return rebuild(model, lambda layer: type(layer).from_config(layer.get_config()), policy=model.dtype_policy)


def rebuild(
    model: keras.Model, clone: Callable[[Any], Any], call: Callable[..., Any] | None = None, *, policy: Any
) -> keras.Model:
    """Returns an independent model with the same weights, made of clones of the layers.

    Args:
        model: A built model.
        clone: Makes a layer or operation of another; of a subclassed model, it is given the model.
        call: See `rebuild_graph`.
        policy: The dtype policy of parts that a layer makes for itself, without a word in its configuration.

    Returns:
        The copy, uncompiled.

    Raises:
        InputError: If the model is not built or cannot be rebuilt.
    """
    if not model.built:
        raise InputError("model", "a built model (call it once, or give its input shape)", "an unbuilt model")
    try:
        with _policy(policy):
            if has_graph(model):
                copied = rebuild_graph(model, clone, call)
            else:
                copied = clone(model)
                copied.build_from_config(model.get_build_config())
        copied.set_weights(model.get_weights())
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"Cannot copy the model {model.name!r}: {reason}. "
            "A subclassed model needs get_config, from_config and build."
        ) from error
    return copied


def rebuild_graph(
    model: keras.Model, clone: Callable[[Any], Any], call: Callable[..., Any] | None = None
) -> keras.Model:
    """Returns a Sequential or functional model with fresh weights, made of clones of the layers.

    Args:
        model: The model.
        clone: Makes a layer or operation of another.
        call: Calls a clone in a functional model with the arguments that the original was called with.
    """
    import keras

    options = {} if call is None or isinstance(model, keras.Sequential) else {"call_function": call}
    return keras.models.clone_model(model, clone_function=clone, **options)


def in_full_precision(config: Any) -> Any:
    """Returns a layer's configuration with float16 and bfloat16 replaced by float32, at any depth.

    Half precision is too coarse for curvature: its logits have three digits. Layers within layers (wrappers, nested
    models) are described inside the configuration, and so are found.

    Args:
        config: A configuration, or a part of one.
    """
    if isinstance(config, dict):
        if config.get("class_name") == "DTypePolicy" and config.get("config", {}).get("name") in _COARSE:
            return {**config, "config": {**config["config"], "name": "float32"}}
        lifted = {name: in_full_precision(value) for name, value in config.items()}
        if isinstance(lifted.get("dtype"), str) and lifted["dtype"] in _COARSE:
            lifted["dtype"] = "float32"
        return lifted
    if isinstance(config, list | tuple):
        return type(config)(in_full_precision(value) for value in config)
    return config


def full_policy(policy: Any) -> Any:
    """Returns a dtype policy, or float32 where it computes in half precision."""
    import keras

    return keras.DTypePolicy("float32") if policy.name in _COARSE else policy


def check_classifier(model: keras.Model, images: np.ndarray, num_classes: int) -> np.ndarray:
    """Runs a few images through a model to see whether they fit each other.

    Passes on an `InputError` if the shape of the images or the number of outputs does not fit.

    Args:
        model: A classifier.
        images: Array of shape `(rows, height, width, channels)`, or whatever else one row may be.
        num_classes: Number of classes.

    Returns:
        float64 class scores of up to 8 images.
    """
    return np.asarray(score_few(model, images, num_classes), dtype=np.float64)


def score_few(model: keras.Model, images: np.ndarray, num_classes: int | None) -> np.ndarray:
    """Is `check_classifier`, with the class scores in the dtype in which the model puts them out."""
    import keras

    expected = model.input_shape[1:] if has_graph(model) else None
    shape = images.shape[1:]
    if expected is not None and (
        len(expected) != len(shape) or any(e not in (None, r) for e, r in zip(expected, shape, strict=True))
    ):
        raise InputError("images", f"images of the model's input shape {expected}", f"images of shape {shape}")
    few = np.asarray(images[:8], dtype=np.float32)
    scores = keras.ops.convert_to_numpy(model(few, **inference_arguments(model)))
    if num_classes is not None and (scores.ndim != 2 or scores.shape[1] != num_classes):
        raise InputError(
            "model", f"a classifier with {num_classes} outputs, one a class", f"outputs of shape {scores.shape[1:]}"
        )
    return scores


def inference_arguments(model: keras.Model) -> dict[str, bool]:
    """Returns the keyword arguments that call a model in inference mode; a subclassed `call` may know none."""
    takes_training = has_graph(model) or "training" in inspect.signature(model.call).parameters
    return {"training": False} if takes_training else {}


def has_graph(model: keras.Model) -> bool:
    """Whether a model is Sequential or functional, so that it can be cut at a layer."""
    import keras

    return isinstance(model, keras.Sequential) or hasattr(model, "operations")


@contextlib.contextmanager
def _policy(policy: Any) -> Iterator[None]:
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
