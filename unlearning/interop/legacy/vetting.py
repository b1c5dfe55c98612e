"""What a configuration asks for, before anything is made of it: layers of Keras, functions of Keras, no code."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from unlearning.errors import InputError, printable
from unlearning.interop.legacy.layers import PLACES, RENAMED
from unlearning.interop.legacy.operations import LAMBDAS, OPERATIONS, SLICING

_RUN_CODE = {
    "Lambda": "Lambda layers hold code",
    "__lambda__": "functions in the file are code",
    "TFSMLayer": "it runs a SavedModel from elsewhere",
    "TorchModuleWrapper": "it holds a pickle",
    "JaxLayer": "it holds code",
    "FlaxLayer": "it holds code",
}
_NO_OBJECTS = {"__tuple__", "__tensor__", "TensorShape", "__ellipsis__", "__numpy__", "Policy", "PolicyV1"}
_FUNCTIONS = ("activation", "recurrent_activation")
_DEEPEST = 100


def check_config(config: Any, version: str) -> None:
    """Refuses a configuration that asks for code, or for what nobody here knows.

    Args:
        config: A model's configuration, as its file has it.
        version: The version of Keras that wrote it. Classes in one of version 3 are looked up by Keras itself.

    Raises:
        InputError: If there is a Lambda layer or its like, a class that is neither of Keras nor registered, or an
            operation or activation that is not known.
    """
    import keras

    claims = list(_claims(config, 0))
    for _, value in claims:
        if value in _RUN_CODE:
            raise InputError(
                f"The model asks for {value!r}, and {_RUN_CODE[value]}: nothing of it was loaded. Build it in Python "
                "with a layer of Keras, or a registered one of yours, in that place, and load the weights into it."
            )
    for name, value in claims if not version.startswith("3") else ():
        if name == "function" and value not in OPERATIONS and value != SLICING:
            raise InputError(
                f"The model uses the operation tf.{printable(value)}, for which nothing stands in Keras 3."
            )
        if name == "activation" and not _is_activation(value, keras):
            raise InputError(f"The model uses the function {printable(value)!r}, which {_MISSING}")
        if name == "class" and not is_known(value):
            raise InputError(f"The model uses the class {printable(value)!r}, which {_MISSING}")


_MISSING = (
    "is neither Keras's nor registered: nothing of the file was loaded. Name the module that registers it with "
    "--import MODULE (in Python, import it), which runs that module's code."
)


def is_known(name: str) -> bool:
    """Whether a class is Keras's, or registered by whoever uses this."""
    import keras

    if name in LAMBDAS or name in RENAMED or name in _NO_OBJECTS or name in ("Functional", "Model", "Sequential"):
        return True
    return find_registered(name) is not None or any(hasattr(getattr(keras, place), name) for place in PLACES)


def find_registered(name: str) -> Any:
    """Returns a class or function that is registered under a name, with or without its package; None without."""
    import keras

    own = keras.saving.get_custom_objects()
    return own.get(name) or next((one for key, one in own.items() if key.rpartition(">")[2] == name), None)


def _is_activation(name: str, keras: Any) -> bool:
    return hasattr(keras.activations, name) or hasattr(keras.layers, name) or find_registered(name) is not None


def _claims(part: Any, depth: int) -> Iterator[tuple[str, str]]:
    """Yields the names of classes, operations and activations in a configuration, at any depth."""
    if depth > _DEEPEST:
        raise InputError(f"The model's configuration is nested more than {_DEEPEST} deep.")
    if isinstance(part, list):
        for one in part:
            yield from _claims(one, depth + 1)
    if not isinstance(part, dict):
        return
    kind = part.get("class_name")
    if isinstance(kind, str):
        yield "class", kind
        inner = part.get("config")
        if kind in LAMBDAS and isinstance(inner, dict):
            yield "function", str(inner.get("function"))
    for name, value in part.items():
        if name in _FUNCTIONS and isinstance(value, str):
            yield "activation", value
        yield from _claims(value, depth + 1)
