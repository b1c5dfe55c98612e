"""The registry of detectors: which training rows carry a wrong label, judged from the model and the given labels alone.

A detector ranks every row by how suspicious it is and draws a line; its suspects are what `repair` takes as flagged
rows. To add one, write a frozen dataclass that derives from `base.Detector`, and add one line to `_REGISTRY`. Importing
this package imports no TensorFlow; a detector's module is imported when the detector is asked for.

Example:
    >>> from unlearning import detection
    >>> "loss-mixture" in detection.available()
    True
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from unlearning.errors import invalid
from unlearning.methods import parse_hyperparameter

if TYPE_CHECKING:
    from unlearning.detection.base import Detector


@dataclasses.dataclass(frozen=True)
class _Entry:
    attribute: str
    summary: str
    module: str = "detectors"


_REGISTRY = {
    "loss-mixture": _Entry("LossMixture", "two Gaussians on the losses; the rows of the higher one"),
    "gmm": _Entry("LossMixture", "another name of loss-mixture"),
    "loss-ranking": _Entry("LossRanking", "the highest losses, a given share or number of them"),
    "confident-learning": _Entry("ConfidentLearning", "cleanlab on predicted probabilities (needs cleanlab)"),
    "self-influence": _Entry("SelfInfluence", "the length of the row's own gradient in the last layer"),
    "neighbours": _Entry("Neighbours", "nearest neighbours in feature space that carry another label"),
    "cross-validation": _Entry("CrossValidation", "the given label's loss under a probe that never saw the row"),
    "patches": _Entry("PatchRidge", "leave-one-out ridge regression on label-free patch features", "probes"),
    "probe": _Entry("EarlyStoppedProbe", "the same network, trained afresh and stopped early", "probes"),
    "pooled": _Entry("Pooled", "patches and probe together: the geometric mean of their probabilities", "probes"),
    "combination": _Entry("Combination", "the mean rank under several detectors"),
}


def available() -> tuple[str, ...]:
    """Returns the names of all registered detectors."""
    return tuple(_REGISTRY)


def summaries() -> dict[str, str]:
    """Returns one line on each detector, by name."""
    return {name: entry.summary for name, entry in _REGISTRY.items()}


def get(name: str, overrides: Mapping[str, Any] | None = None) -> Detector:
    """Builds a detector by name.

    Args:
        name: A registered name.
        overrides: Options to change, by field name. Text is read as JSON where it is JSON, and as a plain string
            otherwise.

    Returns:
        The detector, a frozen dataclass.

    Raises:
        InputError: If the name or a field is unknown, or a value does not fit.

    Example:
        >>> get("loss-ranking", {"share": "0.1"}).config()["share"]
        0.1
    """
    if name not in _REGISTRY:
        raise invalid("detector", f"one of {', '.join(_REGISTRY)}", name)
    entry = _REGISTRY[name]
    cls = getattr(importlib.import_module(f"unlearning.detection.{entry.module}"), entry.attribute)
    known = {field.name for field in dataclasses.fields(cls)}
    values = {}
    for field, value in (overrides or {}).items():
        if field not in known:
            raise invalid(f"{name}.{field}", f"one of the options {', '.join(sorted(known))}", field)
        values[field] = parse_hyperparameter(name, field, value, cls)
    return cls(**values)
