"""The repair card: what a repair brought, what moved, what it cost and what was chosen on what, in a few lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unlearning.records.repairs import Accepted, MovedParameters, RepairResults, UnlearningResults

_MOST_PASSES = 20
"""Of models so small that starting is what takes the time, nobody counts passes."""


def card(record: RepairResults | UnlearningResults) -> list[str]:
    """Returns what there is to know of a repair, a line a thing.

    Args:
        record: Of a repair, of a user's model or in a cell of an experiment.

    Returns:
        The gain on the validation rows that decide, with its interval; flagged rows put right, where they are known;
        what moved; what it cost; and, of `auto`, what it chose and why, with annealing beside it.
    """
    seconds, spent = record.unlearning_duration_s, record.unlearning_cpu_s
    return card_lines(record.acceptance, record.moved, seconds, spent, record.details)


def card_lines(
    acceptance: Accepted | None,
    moved: MovedParameters | None,
    seconds: float,
    cpu_s: float | None,
    details: Mapping[str, Any],
) -> list[str]:
    """Returns the lines of a card of its parts, for a repair that has no record (yet).

    Args:
        acceptance: What decided; None where there was nothing to decide about.
        moved: What moved; None where nothing was proposed.
        seconds: What the repair took, detection included.
        cpu_s: The same in processor seconds; None where that was not measured.
        details: What the method says of itself.
    """
    lines = [] if acceptance is None else acceptance.lines()
    lines += [] if moved is None else [moved.line()]
    lines.append(_cost(seconds, cpu_s, details))
    told = details.get("auto")
    if isinstance(told, dict) and isinstance(told.get("said"), list):
        lines += [str(line) for line in told["said"]]
    return lines


def _cost(seconds: float, spent: float | None, details: Mapping[str, Any]) -> str:
    parts = [f"cost: {seconds:.1f} s"]
    if spent is not None:
        parts.append(f"{spent:.1f} s of processor time")
    told = details.get("auto", {})
    if isinstance(told, dict) and spent is not None and told.get("pass_s"):
        passes = spent / float(told["pass_s"])
        if passes < _MOST_PASSES:
            parts.append(f"as much as {passes:.1f} passes over the training rows")
    found = details.get("detection", {})
    if isinstance(found, dict) and found.get("detection_duration_s"):
        parts.append(f"{found['detection_duration_s']:.1f} s of it to find the rows")
    return ", ".join(parts)
