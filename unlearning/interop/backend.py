"""The few things that Keras has no name for, or that depend on the backend."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from unlearning.errors import InputError

if TYPE_CHECKING:
    import keras


def need_tensorflow(what: str) -> None:
    """Says in one line that something needs another backend.

    Args:
        what: What it is, as the beginning of a sentence.

    Raises:
        InputError: If Keras computes with another one than TensorFlow.
    """
    import keras

    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise InputError(
            f"{what} needs TensorFlow, and Keras computes with {backend}: set KERAS_BACKEND=tensorflow for it. The "
            ".keras files that come of it can be used with any backend."
        )


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

        return tf.function(function, reduce_retracing=True, autograph=False)
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
