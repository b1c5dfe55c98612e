"""From a method's outcome to the fields that records of repairs share."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unlearning.acceptance import Acceptance, Paired
from unlearning.errors import printable
from unlearning.records import Accepted, MovedParameters, PairedShare, Solve, Work, finite, write_rows
from unlearning.records.card import card_lines
from unlearning.task import OutcomeStatus, SolveStatus, UnlearningOutcome

if TYPE_CHECKING:
    import keras

    from unlearning.data import ImageData

MOST_COUNTED_CLASSES = 100
"""Of more, the counts of a confusion matrix would be most of a record."""


def describe(outcome: UnlearningOutcome, cpu_s: float | None) -> list[str]:
    """Returns the card of a repair that has no record: what it brought, what moved, and what it cost.

    Args:
        outcome: What the method did.
        cpu_s: Processor seconds of it all.
    """
    decided = _decided(outcome)
    return card_lines(decided["acceptance"], decided["moved"], outcome.duration_s, cpu_s, outcome.details)


def outcome_fields(outcome: UnlearningOutcome) -> dict[str, Any]:
    """Returns the fields that repair records share, from a method's outcome."""
    return {
        "applied": outcome.applied,
        "status": str(outcome.status),
        "validation_accuracy_before": outcome.validation_accuracy_before,
        "validation_accuracy_after": outcome.validation_accuracy_after,
        **_decided(outcome),
        "work": Work(**dataclasses.asdict(outcome.work)),
        "unlearning_duration_s": outcome.duration_s,
        "solves": [Solve(**finite(dataclasses.asdict(report))) for report in outcome.solves],
        "history": [finite(dict(row)) for row in outcome.history],
        "details": finite(dict(outcome.details)),
    }


def _decided(outcome: UnlearningOutcome) -> dict[str, Any]:
    return {
        "acceptance": None if outcome.acceptance is None else _accepted(outcome.acceptance),
        "moved": None if outcome.moved is None else MovedParameters(**outcome.moved._asdict()),
    }


def _accepted(found: Acceptance) -> Accepted:
    flagged = None if found.flagged is None else _paired(found.flagged)
    return Accepted(verdict=found.verdict.value, validation=_paired(found.validation), flagged=flagged)


def _paired(found: Paired) -> PairedShare:
    low, high = found.interval
    return PairedShare(
        rows=found.rows,
        before=found.before,
        after=found.after,
        difference=found.difference,
        interval_low=low,
        interval_high=high,
        p_better=found.p_better,
        p_worse=found.p_worse,
    )


def score_classes(before: keras.Model, after: keras.Model, data: ImageData) -> dict[str, Any]:
    """Returns the fields of a record that say what two models make of the test rows, class by class."""
    from unlearning.evaluation import confusion

    fields: dict[str, Any] = {}
    small = data.num_classes <= MOST_COUNTED_CLASSES
    for when, model in (("before", before), ("after", after)):
        counts = confusion(model, data.test, data.num_classes)
        fields[f"test_accuracy_{when}"] = float(np.trace(counts) / counts.sum())
        fields[f"confusion_{when}"] = counts.tolist() if small else None
    return fields | {"class_names": [printable(name) for name in data.class_names] if small else None}


def write_row_lists(path: Path, outcome: UnlearningOutcome) -> dict[str, Any]:
    """Writes the row lists of an outcome, where there are any, and returns the field of the record that binds them."""
    return {"rows": write_rows(path, outcome.rows)} if outcome.rows else {}


def has_diverged(outcome: UnlearningOutcome) -> bool:
    """Whether a method met non-finite numbers or a diverging solve."""
    bad = {SolveStatus.DIVERGED, SolveStatus.NON_FINITE}
    return outcome.status is OutcomeStatus.NON_FINITE or any(solve.status in bad for solve in outcome.solves)
