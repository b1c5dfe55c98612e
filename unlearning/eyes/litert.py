"""A LiteRT (TensorFlow Lite) file as eyes; its output is what it sees."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from unlearning.errors import InputError, one_line
from unlearning.eyes.base import Eyes
from unlearning.eyes.scaling import SCALINGS, check_scaling
from unlearning.files import file_sha256


class LiteEyes(Eyes):
    """A `.tflite` file with one input, a picture. Best is one without its classifier: a network of feature vectors.

    Args:
        path: The file.
        size: Height and width of the images, for files that take any.
        scaling: A name of `unlearning.eyes.scaling`; `auto` is `signed`, and `raw` where the file takes bytes.

    Raises:
        InputError: If ai-edge-litert is missing, or the file is none of that kind.
    """

    def __init__(self, path: Path, size: int, scaling: str = "auto") -> None:
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise InputError(
                f"{path.name} needs ai-edge-litert. Install it with: pip install ai-edge-litert"
            ) from error
        self.name, self.identity = path.name, f"{file_sha256(path)} {check_scaling(scaling)}"
        try:
            self._interpreter = Interpreter(model_path=os.fspath(path), num_threads=1)
            (self._input,) = self._interpreter.get_input_details()
        except (ValueError, RuntimeError) as error:
            raise InputError("eyes", "a LiteRT file with one input", f"{path.name}: {one_line(error)}") from error
        self._shape = [int(side) for side in self._input["shape_signature"]]
        if len(self._shape) != 4 or self._shape[3] not in (1, 3):
            raise InputError("eyes", "a network that takes pictures (rows, height, width, 1 or 3)", self._shape)
        self.channels = self._shape[3]
        self.side = self._shape[1] if self._shape[1] == self._shape[2] and self._shape[1] > 0 else size
        takes_bytes = np.issubdtype(self._input["dtype"], np.integer)
        self._scale = SCALINGS[("raw" if takes_bytes else "signed") if scaling == "auto" else scaling]
        self._rows = 0

    def look(self, images: Any) -> np.ndarray:
        """See `Eyes.look`."""
        batch = np.asarray(self._scale(np.asarray(images, np.float32)))
        if len(batch) != self._rows:
            self._interpreter.resize_tensor_input(self._input["index"], batch.shape)
            self._interpreter.allocate_tensors()
            self._rows = len(batch)
        kind = self._input["dtype"]
        if np.issubdtype(kind, np.integer):
            limits = np.iinfo(kind)
            step, zero = self._input["quantization"]
            # Bytes stand for pixels, whatever numbers their step makes of them.
            shifted = batch if kind == np.uint8 or not step else batch + (zero if zero < 0 else limits.min)
            batch = np.clip(np.rint(shifted), limits.min, limits.max)
        self._interpreter.set_tensor(self._input["index"], batch.astype(kind))
        self._interpreter.invoke()
        parts = []
        for output in self._interpreter.get_output_details():
            found = self._interpreter.get_tensor(output["index"]).astype(np.float32)
            step, zero = output["quantization"]
            found = (found - zero) * step if step else found
            parts.append(found.mean(axis=tuple(range(1, found.ndim - 1))))
        return np.concatenate(parts, axis=-1)
