"""What a recorded repair was and what it was told, from its name and its hyperparameters.

A name may have come to mean something else: its entry has got a setting that version 0.1 did not have, and the record
says by leaving it out that it was as before. And hyperparameters may make a method read less, or more, of what is known
of bad rows than its entry says.

Example:
    >>> label("fine-tuning-equal-time", "fine-tuning", {"rows": "corrected", "seconds": 71.0})
    'fine-tuning-equal-time (constant)'
    >>> information("fine-tuning", {"rows": "unflagged"}), information("sap", {})
    ('bad rows', 'nothing')
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unlearning.errors import InputError
from unlearning.methods import FLAGGED, METHODS, NOTHING, RIGHT_LABELS
from unlearning.methods.base import Method, told_to
from unlearning.settings import added_later, fill_older, written_together


def label(name: str, method: str, hyperparameters: Mapping[str, Any]) -> str:
    """Returns what to call a repair in tables and figures: as it is named, unless that means another thing today.

    Args:
        name: Its name: the method's, and a variant.
        method: Its recorded method, or chain of methods.
        hyperparameters: As recorded.

    Returns:
        The name; behind it, in brackets, the values that are not what the method's name means today.
    """
    stages = _stages(method, _parts(hyperparameters)[0])
    changes = [change for stage, own in stages for change in _changes(stage, own)]
    return f"{name} ({', '.join(changes)})" if changes else name


def information(method: str, hyperparameters: Mapping[str, Any]) -> str:
    """Returns what of bad rows a repair was told: `nothing`, `bad rows` or, besides, their `right labels`.

    Args:
        method: Its recorded method, or chain of methods.
        hyperparameters: As recorded. A detector finds bad rows without being told, so that is nothing.

    Returns:
        The words; `unknown` for a method that is not registered.
    """
    own, detected = _parts(hyperparameters)
    told: frozenset[str] = NOTHING
    for stage, values in _stages(method, own):
        needs = _needs(stage, values)
        if needs is None:
            return "unknown"
        told |= needs
    if detected:
        return "nothing"
    return "right labels" if told >= RIGHT_LABELS else "bad rows" if told >= FLAGGED else "nothing"


def complete(method: str, hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a method's own hyperparameters with those that are left out because they are as before.

    Args:
        method: Its recorded name, or a chain's.
        hyperparameters: As recorded, without a detector.
    """
    found = {}
    for stage, values in _stages(method, hyperparameters):
        target = _target(stage)
        found[stage] = dict(values) if target is None else fill_older(target, dict(values))
    return found if "+" in method else found[method]


def _needs(name: str, hyperparameters: Mapping[str, Any]) -> frozenset[str] | None:
    """What one method needs with these hyperparameters; None where it is not registered."""
    target = _target(name)
    if target is None:
        return None
    try:
        return told_to(name, METHODS.build(name, fill_older(target, dict(hyperparameters))))
    except InputError:  # the record is of a later version
        return METHODS.entry(name).needs


def _changes(name: str, hyperparameters: Mapping[str, Any]) -> list[str]:
    """The later settings of a record that are as before where the name means another value today, as text."""
    target = _target(name)
    if target is None:
        return []
    preset, groups = METHODS.entry(name).preset, written_together(target)
    changes: dict[str, str] = {}
    for field, before in added_later(target).items():
        meant = preset.get(field, target.model_fields[field].get_default(call_default_factory=True))
        if field not in hyperparameters and before != meant:
            # Of settings that are as before together, the first one speaks for all.
            changes.setdefault(groups[field], before if isinstance(before, str) else f"{field} {before}")
    return list(changes.values())


def _target(name: str) -> type[Method] | None:
    """The class behind a name; None where there is none, or it cannot be loaded here."""
    try:
        found: type[Method] = METHODS.load(name)
    except (InputError, ImportError, AttributeError):
        return None
    return found


def _parts(hyperparameters: Mapping[str, Any]) -> tuple[Mapping[str, Any], bool]:
    """The method's own hyperparameters, and whether a detector found its rows; see `Detected.config`."""
    inner = hyperparameters.get("method")
    if isinstance(inner, Mapping) and isinstance(hyperparameters.get("detector"), Mapping):
        return inner, True
    return hyperparameters, False


def _stages(method: str, hyperparameters: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Each method of a chain with its hyperparameters; see `Chain.config`."""
    names = method.split("+")
    if len(names) == 1:
        return [(method, hyperparameters)]
    own = [(name, hyperparameters.get(name)) for name in names]
    return [(name, values if isinstance(values, Mapping) else {}) for name, values in own]
