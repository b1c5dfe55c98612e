"""Handling other people's Keras models: loading, saving, copying, and reading logits off them.

Nothing here changes the model it is given. `as_logit_model` makes the private working copy on which the updates are
computed: same weights, inference-friendly float32 arithmetic, and logits instead of probabilities. Keras is imported by
what needs it, not by this module; so is TensorFlow, for the few things that Keras has no name for.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import zipfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unlearning.archives import check_members
from unlearning.errors import InputError, invalid
from unlearning.files import writing

if TYPE_CHECKING:
    import keras


def load_model(path: str | os.PathLike[str]) -> keras.Model:
    """Loads a `.keras` file in safe mode (no code from the file is run).

    Args:
        path: The file.

    Returns:
        The model, uncompiled.

    Raises:
        InputError: If the file is missing, damaged, or needs code that safe mode refuses.
    """
    import keras

    path = Path(path)
    if path.suffix != ".keras":
        raise invalid("model", "a path ending in .keras", str(path))
    if not path.is_file():
        raise invalid("model", "an existing file", str(path))
    try:
        with zipfile.ZipFile(path) as archive:
            check_members(archive, path)
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever zipfile, json and h5py raise on a damaged archive
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        reason = reason if len(reason) <= 300 else f"{reason[:297]}..."  # some messages quote the whole configuration
        raise InputError(f"Cannot load the model {path}: {reason}") from error


def save_model(model: keras.Model, path: str | os.PathLike[str]) -> None:
    """Saves a model so that `path` holds either the whole new file or what it held before.

    Args:
        model: The model.
        path: Target, ending in `.keras`; the folder is created.
    """
    path = Path(path)
    if path.suffix != ".keras":
        raise invalid("path", "a path ending in .keras", str(path))
    with writing(path) as aside:
        model.save(aside)


def set_determinism(seed: int, deterministic: bool = False) -> None:
    """Seeds Python, NumPy and the backend.

    Args:
        seed: The seed.
        deterministic: Also force deterministic kernels (TensorFlow only; slower, mostly on GPUs).
    """
    import keras

    keras.utils.set_random_seed(seed)
    if deterministic and keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


def on_all_gpus() -> AbstractContextManager[Any]:
    """Returns a context in which models are built on all GPUs, where TensorFlow sees several; else it does nothing."""
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        if len(tf.config.list_physical_devices("GPU")) > 1:
            return tf.distribute.MirroredStrategy().scope()
    return contextlib.nullcontext()


def as_graph(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Returns a function of one array as a graph, where the backend is TensorFlow; elsewhere as it is."""
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(function, reduce_retracing=True)
    return function


def differentiate(forward: Callable[[], tuple[Any, Any]], variables: Sequence[keras.Variable]) -> tuple[Any, list[Any]]:
    """Runs a forward pass and differentiates what it returns first (TensorFlow only).

    Args:
        forward: Returns a scalar, and whatever else the caller wants of the pass.
        variables: What to differentiate with respect to.

    Returns:
        What else the pass returned, and one dense gradient a variable, None for those that play no part.
    """
    import tensorflow as tf

    with tf.GradientTape() as tape:
        value, rest = forward()
    found = tape.gradient(value, [v.value for v in variables])
    return rest, [None if gradient is None else tf.convert_to_tensor(gradient) for gradient in found]


def joint_norm(tensors: Sequence[Any]) -> Any:
    """Returns the Euclidean norm of all numbers in several tensors together (TensorFlow only)."""
    import tensorflow as tf

    return tf.linalg.global_norm(list(tensors))


def copy_model(model: keras.Model) -> keras.Model:
    """Returns an independent model with the same architecture, layer names and weights.

    Args:
        model: A built model: Sequential, functional, or subclassed with a working `get_config`.

    Returns:
        The copy, uncompiled.

    Raises:
        InputError: If the model is not built or cannot be rebuilt from its configuration.
    """
    return _copy(model, float32=False)


def as_logit_model(model: keras.Model) -> keras.Model:
    """Returns an independent copy of a classifier that outputs logits in full precision.

    A final softmax (in the last layer's `activation`, or a layer of its own) is taken off. Where it is out of reach, in
    a subclassed or nested model, the copy still outputs probabilities, and `Head` takes their logarithm.

    Args:
        model: A classifier whose output has shape `(rows, classes)`.

    Returns:
        The working copy. For Sequential and functional models it is functional or Sequential with the same layer
        names, so that layers can be named across both.

    Raises:
        InputError: If the output is not one row of at least two class scores per image.
    """
    import keras

    shape = getattr(model, "output_shape", None) if has_graph(model) else None
    if shape is not None and (not isinstance(shape, tuple) or len(shape) != 2 or shape[-1] is None or shape[-1] < 2):
        raise invalid("model", "one output of shape (rows, classes) with at least two classes", shape)
    work = _copy(model, float32=True)
    if not has_graph(work):
        return work
    last = work.layers[-1]
    if isinstance(last, keras.layers.Softmax):
        return keras.Model(work.inputs, last.input)
    activation = getattr(last, "activation", None)
    if activation is keras.activations.softmax:
        last.activation = keras.activations.linear
    elif activation is keras.activations.sigmoid:
        raise invalid("model", "a softmax or logit output", "a sigmoid output")
    return work


def outputs_probabilities(scores: np.ndarray) -> bool:
    """Tells whether rows of class scores are probabilities (non-negative, each row summing to one)."""
    scores = np.asarray(scores, dtype=np.float64)
    return bool(scores.size and scores.min() >= 0 and np.allclose(scores.sum(axis=-1), 1, atol=1e-3))


def check_classifier(model: keras.Model, images: np.ndarray, num_classes: int) -> np.ndarray:
    """Runs a few images through a model to see whether they fit each other.

    Args:
        model: A classifier.
        images: Array of shape `(rows, height, width, channels)`.
        num_classes: Number of classes.

    Returns:
        float64 class scores of up to 8 images.

    Raises:
        InputError: If the shape of the images or the number of outputs does not fit.
    """
    import keras

    expected = model.input_shape[1:] if has_graph(model) else None
    shape = images.shape[1:]
    if expected is not None and (
        len(expected) != len(shape) or any(e not in (None, r) for e, r in zip(expected, shape, strict=True))
    ):
        raise invalid("images", f"images of the model's input shape {expected}", f"images of shape {shape}")
    few = np.asarray(images[:8], dtype=np.float32)
    scores = np.asarray(keras.ops.convert_to_numpy(model(few, **inference_arguments(model))), dtype=np.float64)
    if scores.ndim != 2 or scores.shape[1] != num_classes:
        raise invalid(
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


def _copy(model: keras.Model, *, float32: bool) -> keras.Model:
    import keras

    if not model.built:
        raise invalid("model", "a built model (call it once, or give its input shape)", "an unbuilt model")

    def clone(layer: keras.layers.Layer) -> keras.layers.Layer:
        config = layer.get_config()
        policy = getattr(layer, "dtype_policy", None)  # an operation, such as an argmax in the graph, has none
        if float32 and policy is not None and policy.compute_dtype != policy.variable_dtype:
            config["dtype"] = policy.variable_dtype  # mixed precision is too coarse for curvature
        return type(layer).from_config(config)

    try:
        if has_graph(model):
            copied = keras.models.clone_model(model, clone_function=clone)
        else:
            copied = type(model).from_config(model.get_config())
            copied.build_from_config(model.get_build_config())
        copied.set_weights(model.get_weights())
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"Cannot copy the model {model.name!r}: {reason}. "
            "A subclassed model needs get_config, from_config and build."
        ) from error
    return copied
