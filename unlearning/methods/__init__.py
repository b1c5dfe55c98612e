"""The registry of unlearning methods: one file a method, presets by name.

Methods compose: `sap+second-order` runs the second on what the first returns (see `chain`).

To add a method, write `unlearning/methods/<name>.py` with a frozen dataclass that derives from `base.Method`, and add
one line to `_REGISTRY`. The command line, the contract test and the result files pick it up from there. Importing this
package imports no TensorFlow; a method's module is imported when the method is asked for.

Example:
    >>> from unlearning import methods
    >>> "second-order" in methods.available()
    True
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from unlearning.errors import InputError, invalid
from unlearning.registry import Entry, Role
from unlearning.strict_json import parse_json

if TYPE_CHECKING:
    from unlearning.methods.base import Method


@dataclasses.dataclass(frozen=True)
class _Entry:
    module: str
    attribute: str
    summary: str
    preset: Mapping[str, Any] = dataclasses.field(default_factory=dict)


_REGISTRY = {
    "first-order": _Entry(
        "first_order",
        "FirstOrder",
        "one gradient-difference step, its length chosen on validation",
    ),
    "second-order": _Entry(
        "second_order",
        "SecondOrder",
        "damped Gauss-Newton steps by conjugate gradients, re-linearised",
    ),
    "second-order-single": _Entry(
        "second_order",
        "SecondOrder",
        "the closed form: one damped Gauss-Newton solve",
        {"steps": 1},
    ),
    "first-order-reference": _Entry(
        "first_order",
        "FirstOrder",
        "the published schedule: fixed tau on 512 misclassified rows a step",
        {"rows": "errors", "error_rows": 512, "tau": 2e-5, "steps": 10},
    ),
    "second-order-lissa": _Entry(
        "second_order",
        "SecondOrder",
        "the published schedule: LiSSA on 1,024 misclassified rows a step",
        {"rows": "errors", "error_rows": 1024, "solver": "lissa", "steps": 10, "curvature": "hessian"},
    ),
    "sap": _Entry(
        "sap",
        "Sap",
        "project every kernel onto what trusted rows need; no labels flagged",
    ),
    "fspmu": _Entry("fspmu", "Fspmu", "push flagged rows off the class centroids, pull the others onto theirs"),
    "fspmu-gmm": _Entry(
        "fspmu",
        "Fspmu",
        "the same on rows whose losses stand out; no labels flagged",
        {"pred": "gmm"},
    ),
    "fspmu-memorised": _Entry(
        "fspmu",
        "Fspmu",
        "the same on rows that a short training finds noisy and the model clean; no labels flagged",
        {"pred": "memorised", "preset": "nll"},
    ),
    "scrub": _Entry("scrub", "Scrub", "part from the old model on flagged rows, stay with it on the others"),
    "retraining": _Entry("retraining", "Retraining", "the gold standard: the same recipe on corrected labels"),
    "retraining-unflagged": _Entry(
        "retraining", "Retraining", "the same recipe without the flagged rows", {"rows": "unflagged"}
    ),
    "sharding": _Entry("sharding", "Sharding", "SISA: an ensemble on disjoint shards, of which few are retrained"),
    "ssd": _Entry("ssd", "Ssd", "dampen weights that matter far more to flagged rows than to all rows"),
    "fine-tuning": _Entry("fine_tuning", "FineTuning", "a tenth of the epochs again, on corrected labels"),
    "fine-tuning-trusted": _Entry(
        "fine_tuning",
        "FineTuning",
        "the same on trusted rows; no labels flagged",
        {"rows": "trusted"},
    ),
}


def available() -> tuple[str, ...]:
    """Returns the names of all registered methods and presets."""
    return tuple(_REGISTRY)


def summaries() -> dict[str, str]:
    """Returns one line on each method, by name."""
    return {name: entry.summary for name, entry in _REGISTRY.items()}


def needs_flagged(name: str, overrides: Mapping[str, Any] | None = None) -> bool:
    """Tells whether a method, or any stage of a chain, does nothing without flagged rows; arguments as for `get`."""
    return get(name, overrides).needs_flagged


def get(name: str, overrides: Mapping[str, Any] | None = None) -> Method:
    """Builds a method by name.

    Args:
        name: A registered name, or several joined by `+`, to be run one after the other.
        overrides: Hyperparameters to change, by field name. Text is read as JSON where it is JSON (`"0.1"`, `"[1, 2]"`,
            `"null"`) and as a plain string otherwise. In a chain the name of the stage comes first: `sap.rounds`.

    Returns:
        The method, a frozen dataclass.

    Raises:
        InputError: If the name or a field is unknown, or a value does not fit.

    Example:
        >>> get("second-order", {"steps": "3"}).config()["steps"]
        3
    """
    if "+" in name:
        return _chain(name, overrides or {})
    if name not in _REGISTRY:
        raise invalid("method", f"one of {', '.join(_REGISTRY)}, or several joined by '+'", name)
    entry = _REGISTRY[name]
    cls = getattr(importlib.import_module(f"unlearning.methods.{entry.module}"), entry.attribute)
    known = {field.name for field in dataclasses.fields(cls)}
    values = dict(entry.preset)
    for field, value in (overrides or {}).items():
        if field not in known:
            raise invalid(f"{name}.{field}", f"one of the hyperparameters {', '.join(sorted(known))}", field)
        values[field] = parse_hyperparameter(name, field, value, cls)
    return cls(**values)


def _chain(name: str, overrides: Mapping[str, Any]) -> Method:
    from unlearning.methods.chain import Chain

    by_stage: dict[str, dict[str, Any]] = {stage: {} for stage in name.split("+")}
    for key, value in overrides.items():
        stage, _, field = key.partition(".")
        if stage not in by_stage or not field:
            raise invalid(f"{name}.{key}", f"STAGE.FIELD with a stage among {', '.join(by_stage)}", key)
        by_stage[stage][field] = value
    if len(by_stage) != name.count("+") + 1:
        raise invalid("method", "a chain of different methods", name)
    return Chain(tuple((stage, get(stage, values)) for stage, values in by_stage.items()))


def parse_hyperparameter(name: str, field: str, value: Any, cls: type) -> Any:
    """Reads one hyperparameter as the type of its field.

    Args:
        name: Registered name of the method (or detector), for the message.
        field: A field of the dataclass.
        value: The value; text is read as JSON where it is JSON, and as a plain string otherwise.
        cls: The dataclass.

    Returns:
        The value, of the field's type.

    Raises:
        InputError: If it does not fit.
    """
    import typing

    from pydantic import TypeAdapter, ValidationError

    is_text = isinstance(value, str)
    text = str(value) if len(str(value)) <= 100 else f"{str(value)[:97]}..."
    try:
        if is_text:
            with contextlib.suppress(json.JSONDecodeError):  # plain text such as a layer name stays text
                value = parse_json(value)
        parsed = TypeAdapter(typing.get_type_hints(cls)[field]).validate_python(value)
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise InputError(f"Invalid value for argument `{name}.{field}`. {reason}. Received: {text!r}") from error
    except ValueError as error:
        raise InputError(f"Invalid value for argument `{name}.{field}`: {error}. Received: {text!r}") from error
    # The text "nan" is no JSON, but a float to pydantic. What Python passes in, the methods themselves check.
    values = parsed if isinstance(parsed, tuple | list) else (parsed,)
    if is_text and any(isinstance(item, float) and not math.isfinite(item) for item in values):
        raise InputError(f"Invalid value for argument `{name}.{field}`. Expected finite numbers. Received: {text!r}")
    return parsed


def entry(name: str) -> Entry:  # a stub of the registry's; that of `Registry` takes its place
    """Returns what there is to know of a method, or of a chain, without building it."""
    stages = name.split("+")
    for stage in stages:
        if stage not in _REGISTRY:
            raise invalid("method", f"one of {', '.join(_REGISTRY)}", stage)
    modules = [_REGISTRY[stage].module.replace("_", "-") for stage in stages]
    roles = {"retraining": Role.GOLD, "sharding": Role.CONTROL, "ssd": Role.CONTROL, "fine-tuning": Role.CONTROL}
    roles |= {"scrub": Role.PUBLISHED}
    return Entry(name, "", role=roles.get(modules[-1], Role.RECOMMENDED), family="+".join(modules))
