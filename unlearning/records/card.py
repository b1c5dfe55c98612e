"""The repair card: what a repair brought, what moved, what it cost and what was chosen on what, in a few lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unlearning.records.repairs import RepairResults, UnlearningResults


def card(record: RepairResults | UnlearningResults) -> list[str]:
    """Returns what there is to know of a repair, a line a thing.

    Args:
        record: Of a repair, of a user's model or in a cell of an experiment.

    Returns:
        The gain on the validation rows that decide, with its interval; flagged rows put right, where they are known;
        what moved; what it cost; and, of `auto`, what it chose and why, with annealing beside it.
    """
    lines = [] if record.acceptance is None else record.acceptance.lines()
    lines += [] if record.moved is None else [record.moved.line()]
    lines.append(_cost(record))
    told = record.details.get("auto")
    if isinstance(told, dict) and isinstance(told.get("said"), list):
        lines += [str(line) for line in told["said"]]
    return lines


def _cost(record: RepairResults | UnlearningResults) -> str:
    parts = [f"cost: {record.unlearning_duration_s:.1f} s"]
    spent = record.unlearning_cpu_s
    if spent is not None:
        parts.append(f"{spent:.1f} s of processor time")
    told = record.details.get("auto", {})
    if isinstance(told, dict) and spent is not None and told.get("pass_s"):
        parts.append(f"as much as {spent / float(told['pass_s']):.1f} passes over the training rows")
    found = record.details.get("detection", {})
    if isinstance(found, dict) and found.get("detection_duration_s"):
        parts.append(f"{found['detection_duration_s']:.1f} s of it to find the rows")
    return ", ".join(parts)
