"""A repaired model as a LiteRT (TensorFlow Lite) file for a device, and the proof that it still says the same.

The file is written with Keras, and run with the package ai-edge-litert on validation rows, as a device would run it.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from unlearning.errors import InputError, one_line
from unlearning.evaluation import accuracy, predict
from unlearning.files import check_outputs, file_sha256, writing
from unlearning.interop import two_columns
from unlearning.records import Deployed
from unlearning.startup import quiet_errors
from unlearning.task import Split

_BATCH = 64
_ALIKE = 0.99
"""A file that names another class than the model for more rows than the rest is not kept."""


def check_deployment(path: Path, force: bool) -> None:
    """Looks, before anything is computed, at whether a file can be written and checked.

    Args:
        path: The LiteRT file.
        force: Whether an existing one may be replaced.

    Raises:
        InputError: If it does not end in `.tflite`, exists, or ai-edge-litert is missing.
    """
    if path.suffix != ".tflite":
        raise InputError("export-litert", "a path ending in .tflite", str(path))
    check_outputs((path,), force)
    if importlib.util.find_spec("ai_edge_litert") is None:
        raise InputError("--export-litert needs ai-edge-litert. Install it with: pip install ai-edge-litert")


def deploy(model: Any, given: Any, validation: Split, path: Path) -> Deployed:
    """Writes a model as a LiteRT file, and keeps it if it predicts as the model does.

    Args:
        model: The repaired model.
        given: The model before the repair, for its accuracy.
        validation: Rows to check it on.
        path: Where it goes.

    Returns:
        What the check found.

    Raises:
        InputError: If Keras cannot convert the model, or the file says something else; then none is written.
    """
    said = predict(model, validation.images)
    with writing(path) as aside:
        try:
            with quiet_errors():
                model.export(aside, format="litert", verbose=False)
                found = _run(aside, validation.images)
        except Exception as error:  # a converter and an interpreter raise whatever they like about a graph
            raise InputError(f"The model cannot be run as a LiteRT file: {one_line(error)}") from error
        found = two_columns(found, model)
        classes, own = found.argmax(axis=-1), said.argmax(axis=-1)
        agreement = float(np.mean(classes == own)) if len(classes) == len(own) else 0.0
        if agreement < _ALIKE:
            raise InputError(
                f"The LiteRT file names the model's class for {100 * agreement:.1f} % of {len(own)} validation rows "
                "only, and was not kept."
            )
    return Deployed(
        sha256=file_sha256(path),
        rows=len(validation),
        accuracy_before=accuracy(given, validation),
        accuracy_model=float(np.mean(own == validation.labels)),
        accuracy_file=float(np.mean(classes == validation.labels)),
        agreement=agreement,
        largest_difference=float(np.max(np.abs(found - said))),
    )


def _run(path: Path, images: Any) -> np.ndarray:
    """What a LiteRT file puts out for rows."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=1)
    (start,) = interpreter.get_input_details()
    (end,) = interpreter.get_output_details()
    found, size = [], 0
    for first in range(0, len(images), _BATCH):
        batch = np.asarray(images[first : first + _BATCH]).astype(start["dtype"])
        if len(batch) != size:
            interpreter.resize_tensor_input(start["index"], batch.shape)
            interpreter.allocate_tensors()
            size = len(batch)
        interpreter.set_tensor(start["index"], batch)
        interpreter.invoke()
        found.append(interpreter.get_tensor(end["index"]).copy())
    return np.concatenate(found)
