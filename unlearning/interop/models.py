"""Copies of models, and what a model is like."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import numpy as np

from unlearning.errors import InputError, first_line
from unlearning.interop.calling import has_graph, inference_arguments
from unlearning.interop.columns import two_columns
from unlearning.interop.proof import prove
from unlearning.interop.state import move_state, paired
from unlearning.profiling import spending

if TYPE_CHECKING:
    import keras

_COARSE = ("float16", "bfloat16", "mixed_float16", "mixed_bfloat16")


def copy_model(model: keras.Model, rows: Any = None) -> keras.Model:
    """Returns an independent model with the same architecture, layer names and state, which predicts the same.

    Passes on an `InputError` if the model is not built, cannot be rebuilt from its configuration, or if its copy
    predicts otherwise; the message names the layer.

    Args:
        model: A built model: Sequential, functional, or subclassed with a working `get_config`.
        rows: Rows that it takes, to try the copy with; None to make a few up.

    Returns:
        The copy. It is compiled as the model is where Keras can describe that, which it cannot with a loss that has no
        name.
    """
    copied = rebuild(model, _from_config, policy=model.dtype_policy, rows=rows)
    if has_graph(model) and model.compiled:
        with contextlib.suppress(Exception), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            copied.compile_from_config(model.get_compile_config())
    return copied


@spending("copies of the model")
def rebuild(
    model: keras.Model,
    clone: Callable[[Any], Any],
    call: Callable[..., Any] | None = None,
    *,
    policy: Any,
    rows: Any = None,
    opened: tuple[Any, ...] = (),
) -> keras.Model:
    """Returns an independent model with the same state, made of clones of the layers.

    Passes on an `InputError` if it predicts otherwise; see `unlearning.interop.proof`.

    Args:
        model: A built model.
        clone: Makes a layer or operation of another; of a subclassed model, it is given the model.
        call: See `rebuild_graph`.
        policy: The dtype policy of parts that a layer makes for itself, without a word in its configuration.
        rows: Rows that the model takes, to try the copy with; None to make a few up.
        opened: What leads to a softmax that the copy lacks.

    Returns:
        The copy, uncompiled.

    Raises:
        InputError: If the model is not built or cannot be rebuilt.
    """
    if not model.built:
        raise InputError("model", "a built model (call it once, or give its input shape)", "an unbuilt model")
    try:
        with _policy(policy), _known_classes(model):
            if has_graph(model):
                copied = rebuild_graph(model, clone, call)
            else:
                copied = clone(model)
                copied.build_from_config(model.get_build_config())
        move_state(model, copied)
    except Exception as error:
        reason = first_line(error)
        advice = "" if has_graph(model) else " A subclassed model needs get_config, from_config and build."
        raise InputError(f"Cannot copy the model {model.name!r}: {reason}.{advice}") from error
    prove(model, copied, rows, opened=opened)
    return copied


def rebuild_graph(
    model: keras.Model, clone: Callable[[Any], Any] | None = None, call: Callable[..., Any] | None = None
) -> keras.Model:
    """Returns a Sequential or functional model with fresh weights, made of clones of the layers, uncompiled.

    Models within it are rebuilt in the same way, so that what is shared stays shared, across models, too.

    Args:
        model: The model.
        clone: Makes a layer or operation of another; None: from its configuration.
        call: Calls a clone in a functional model with the arguments that the original was called with.
    """
    import keras

    made: dict[int, Any] = {}

    def part(one: Any) -> Any:
        if id(one) not in made:
            plain = has_graph(one) and type(one).__module__.startswith("keras.")
            made[id(one)] = whole(one) if plain else _from_config(one) if clone is None else clone(one)
        return made[id(one)]

    def whole(one: Any) -> Any:
        options = {} if call is None or isinstance(one, keras.Sequential) else {"call_function": call}
        compiled, one.compiled = one.compiled, False  # Keras would compile the clone, too: a loss may have no name
        try:
            return keras.models.clone_model(one, clone_function=part, **options)
        finally:
            one.compiled = compiled

    return whole(model)


def _from_config(part: Any) -> Any:
    return type(part).from_config(part.get_config())


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
    scores = two_columns(keras.ops.convert_to_numpy(model(few, **inference_arguments(model))), model)
    if num_classes is not None and (scores.ndim != 2 or scores.shape[1] != num_classes):
        raise InputError(
            "model", f"a classifier with {num_classes} outputs, one a class", f"outputs of shape {scores.shape[1:]}"
        )
    return scores


@contextlib.contextmanager
def _policy(policy: Any) -> Iterator[None]:
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _known_classes(model: keras.Model) -> AbstractContextManager[Any]:
    """Returns a context in which Keras knows the classes of a model's own layers, registered or not."""
    import keras

    classes = {type(part) for part, _ in paired(model, model)}
    own = {kind.__name__: kind for kind in classes if not kind.__module__.startswith("keras.")}
    return keras.saving.custom_object_scope(own)
