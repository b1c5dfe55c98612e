"""What `auto` says of itself: what it did and why, in numbers for the record and in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from unlearning.interop import ALL
from unlearning.task import REMOVED, UnlearningTask

if TYPE_CHECKING:
    from unlearning.methods.choosing.search import Candidate, Search


def tell(task: UnlearningTask, search: Search, best: Candidate | None) -> dict[str, Any]:
    """Returns the decisions of a search, as JSON-ready values.

    Args:
        task: What it was told.
        search: A finished search.
        best: What it took.
    """
    annealed, flagged = search.annealed, task.corrections
    guessed = flagged.probabilities is not None
    found = {
        "flagged": len(flagged),
        "labelled": 0 if guessed else int(np.count_nonzero(flagged.labels != REMOVED)),
        "guessed": len(flagged) if guessed else 0,
        "time_limit_s": search.limit_s,
        "pass_s": search.pass_s,
        "level": None if best is None else best.level,
        "parameters": 0 if best is None else best.parameters,
        "policy": None if best is None else best.policy.name,
        "choosing_rows": len(task.choosing),
        "choosing_before": search.before,
        "choosing_after": None if best is None else best.accuracy,
        "choosing_annealed": None if annealed is None else annealed.accuracy,
        "candidates": len(search.candidates),
        "stopped_at": search.stopped_at,
    }
    return {**found, "said": say(found)}


def say(found: dict[str, Any]) -> list[str]:
    """Returns what was done and why, and what more time or knowledge would bring, in two or three sentences.

    Args:
        found: What `tell` returns.
    """
    if found["level"] is None:
        return ["No training could be made sense of: weights or features were not finite."]
    known = (
        f"{found['guessed']:,} rows whose labels are guesses"
        if found["guessed"]
        else f"{found['labelled']:,} rows with their right labels"
        if found["labelled"] == found["flagged"]
        else f"{found['flagged']:,} bad rows, the right label of {found['labelled']:,}"
        if found["labelled"]
        else f"{found['flagged']:,} bad rows without their right labels"
    )
    gain = 100 * (found["choosing_after"] - found["choosing_before"])
    lines = [
        f"Trained {_name(found['level'])} with a falling learning rate: known were {known} ({found['policy']}); of "
        f"{found['candidates']} candidates this one was best on the {found['choosing_rows']:,} validation rows that "
        f"choose ({gain:+.1f} points)."
    ]
    if found["choosing_annealed"] is not None:
        alone = 100 * (found["choosing_annealed"] - found["choosing_before"])
        lines.append(f"The same steps on the given labels, head only, would have given {alone:+.1f} points.")
    more = []
    if found["stopped_at"] is not None:
        more.append(
            f"more time (a pass takes about {found['pass_s']:.0f} s) would have tried {_name(found['stopped_at'])}"
        )
    if found["guessed"]:
        more.append("looking through the surest suspects yourself brings more than anything else")
    elif found["labelled"] < found["flagged"]:
        more.append("the right labels of the bad rows would teach what they now only stop teaching")
    if more:
        text = "; ".join(more)
        lines.append(f"{text[0].upper()}{text[1:]}.")
    return lines


def _name(level: str) -> str:
    return "all layers" if level == ALL else f"from layer {level} on"
