"""Corrects trained Keras image classifiers that learned from wrong labels, and measures that it helped.

The names below load on first use, so that importing the package (and `--help`) does not import TensorFlow.

Example:
    >>> from unlearning import Corrections, Split, UnlearningTask, get_method, load_model  # doctest: +SKIP
    >>> task = UnlearningTask(train, Corrections(rows, labels), validation, num_classes=10)  # doctest: +SKIP
    >>> outcome = get_method("second-order").unlearn(load_model("model.keras"), task)  # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from typing import Any

_EXPORTS = {
    "Corrections": "unlearning.task",
    "Split": "unlearning.task",
    "UnlearningOutcome": "unlearning.task",
    "UnlearningTask": "unlearning.task",
    "REMOVED": "unlearning.task",
    "InputError": "unlearning.errors",
    "build": "unlearning.architectures",
    "corrupt": "unlearning.noise",
    "load_data": "unlearning.data",
    "load_model": "unlearning.interop",
    "save_model": "unlearning.interop",
    "accuracy": "unlearning.evaluation",
    "restored_share": "unlearning.evaluation",
}

__all__ = [*sorted(_EXPORTS), "get_method"]


def __getattr__(name: str) -> Any:
    if name == "get_method":
        from unlearning.methods import get

        return get
    if name in _EXPORTS:
        return getattr(importlib.import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
