"""Class probabilities that somebody brings, from whatever has not seen the rows it judges."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from unlearning.archives import read_arrays
from unlearning.detection.base import Evidence
from unlearning.detection.cuts import AnchoredCut
from unlearning.errors import InputError
from unlearning.files import check_file, describe_file
from unlearning.settings import PathText

_LARGEST = 2**32


class Brought(AnchoredCut):
    """Log-odds against the given labels under class probabilities from a file.

    They are those of a model that has not seen the row, such as cross-validated ones; without a file they are the
    model's own, which repeat what it has memorised. `scores` are log-odds.
    """

    file: PathText | None = None
    """A .npz file with one array, the probabilities `(rows, K)` in the order of the rows."""
    transition: bool = True
    """Estimate who is mistaken for whom, and let it judge; see `unlearning.detection.transition`."""

    def config(self) -> dict[str, Any]:
        """Returns the settings as JSON-ready values; the file by its name and content, since no record holds a path."""
        return {**super().config(), "file": None if self.file is None else describe_file(self.file)}

    def probabilities(self, evidence: Evidence) -> tuple[np.ndarray, dict[str, Any]]:
        """Returns the probabilities, and what there is to tell."""
        if self.file is None:
            return evidence.probabilities, {"out_of_sample": False}
        arrays = read_arrays(check_file("file", Path(self.file), _LARGEST, ".npz file"))
        shape = (len(evidence.labels), evidence.num_classes)
        if len(arrays) != 1:
            raise InputError("file", "one array", ", ".join(sorted(arrays)) or "none")
        (found,) = arrays.values()
        if found.shape != shape or not np.issubdtype(found.dtype, np.floating):
            raise InputError("file", f"probabilities of shape {shape}", f"{found.dtype} of shape {found.shape}")
        found = found.astype(np.float64)
        total = found.sum(axis=1, keepdims=True)
        if not np.isfinite(found).all() or found.min() < 0 or np.abs(total - 1).max() > 1e-2:
            raise InputError("file", "probabilities, each row summing to one", f"{found.min():.3g}..{found.max():.3g}")
        accuracy = float(np.mean(found.argmax(-1) == evidence.labels))
        return found / total, {"out_of_sample": True, "leave_one_out_accuracy": accuracy}
