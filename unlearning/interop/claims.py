"""What a model's configuration claims, before anything is built from it: a few words there may ask for any memory.

The layers are made without values, which tells the shapes of their weights and outputs. What they would take is held
against the weights in the file and the memory of the machine. That happens in a thread of its own, since Keras keeps
per thread what waits for a value, and would give it one later.
"""

from __future__ import annotations

import contextlib
import json
import math
import threading
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

from unlearning.memory import available_memory

CONFIG, WEIGHTS = "config.json", "model.weights.h5"
"""Members of a `.keras` file."""
_LONGEST_CONFIG = 2**26
_SLACK, _SPARE = 2, 2**20
"""Weights may be stored in half of their precision, and some (states of random draws) not at all."""
_ROWS = 8
"""So many rows are run at once at least, when a model is tried."""


def read_config(archive: zipfile.ZipFile) -> dict[str, Any]:
    """Returns the configuration in a `.keras` file.

    Args:
        archive: The open file.

    Returns:
        Its content.

    Raises:
        ValueError: If it is too long, or no JSON object.
    """
    size = archive.getinfo(CONFIG).file_size
    if size > _LONGEST_CONFIG:
        raise ValueError(f"its configuration has {size} bytes, more than {_LONGEST_CONFIG}")
    config = json.loads(archive.read(CONFIG))
    if not isinstance(config, dict):
        raise ValueError("its configuration is no JSON object")
    return config


def check_claims(archive: zipfile.ZipFile) -> None:
    """Looks at what building a model would take; see `check_making`.

    Args:
        archive: An open `.keras` file.
    """
    import keras

    config = {**read_config(archive), "compile_config": None}
    held = sum(info.file_size for info in archive.infolist() if info.filename == WEIGHTS)
    check_making(lambda: keras.saving.deserialize_keras_object(config, safe_mode=True), held)


def check_making(make: Callable[[], Any], held: int) -> None:
    """Looks at what making a model would take. Passes on what making it raises.

    Args:
        make: Makes the model.
        held: Bytes of weights that the file holds.

    Raises:
        ValueError: If the model has far more weights than the file holds, or an output that does not fit into memory.
    """
    model = _without_values(make)
    if model is None:
        return
    weights = sum(_bytes(variable.shape, variable.dtype) for variable in model.variables)
    if weights > _SLACK * held + _SPARE:
        raise ValueError(f"its configuration claims {weights} bytes of weights, and the file holds {held}")
    free = available_memory()
    if weights > free:
        raise ValueError(f"its weights need {weights} bytes of memory, and {free} are free")
    for name, shape, dtype in _outputs(model):
        if (size := _ROWS * _bytes(shape, dtype)) > free:
            raise ValueError(f"the layer {name!r} puts out {size} bytes for {_ROWS} rows, and {free} are free")


def _without_values(making: Callable[[], Any]) -> Any:
    """Returns a model whose variables have shapes and no values; None where a layer cannot be made so."""
    import keras

    made: list[Any] = []
    failed: list[BaseException] = []

    def make() -> None:
        try:
            with keras.StatelessScope(initialize_variables=False):
                made.append(making())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    if failed:
        if "stateless scope" in str(failed[0]):  # a variable that begins with a value, which stands in the file
            return None
        raise failed[0]
    return made[0] if isinstance(made[0], keras.Model) else None


def _bytes(shape: Any, dtype: Any) -> int:
    """The bytes of an array; sides that are not known are one."""
    import numpy as np

    with contextlib.suppress(TypeError):  # such as bfloat16
        return math.prod(side or 1 for side in shape) * np.dtype(dtype).itemsize
    return math.prod(side or 1 for side in shape) * 2


def _outputs(model: Any) -> Iterator[tuple[str, Any, Any]]:
    """Name, shape and dtype of what the operations of a graph put out, at any depth."""
    import keras

    for operation in getattr(model, "operations", model.layers):
        with contextlib.suppress(AttributeError, ValueError):  # no part of a graph, or of several
            for tensor in keras.tree.flatten(operation.output):
                yield operation.name, tensor.shape, tensor.dtype
        if isinstance(operation, keras.Model):
            yield from _outputs(operation)
