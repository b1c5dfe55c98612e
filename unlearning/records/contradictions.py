"""What no run can have written, though every value by itself may stand in its field."""

from __future__ import annotations

import math
from collections.abc import Iterator

from pydantic import BaseModel

from unlearning.records.repairs import RepairResults, UnlearningResults
from unlearning.records.trainings import TrainResults

_TOLERANCE = 1e-9


def contradictions(record: BaseModel) -> Iterator[str]:
    """Yields how a record's values contradict each other, one line each; nothing of records that cannot."""
    if isinstance(record, UnlearningResults):
        lost, gained = record.acc_clean - record.acc_before_fix, record.acc_after_fix - record.acc_before_fix
        expected = gained / lost if lost > 0 else None
        found = record.acc_perc_restored
        if (expected is None) != (found is None) or (
            expected is not None and found is not None and not math.isclose(expected, found, abs_tol=_TOLERANCE)
        ):
            yield f"acc_perc_restored is {found}, but its three accuracies give {expected}"
        if record.n_gradients != record.work.gradient_rows:
            yield "n_gradients is not work.gradient_rows"
        if not record.applied and record.acc_after_fix != record.acc_before_fix:
            yield "nothing was applied, but the accuracy changed"
    if isinstance(record, UnlearningResults | RepairResults):
        taken = record.acceptance
        worse = record.validation_accuracy_after < record.validation_accuracy_before
        yield from ["worse on the validation rows than before"] * worse
        if taken is not None and (taken.verdict == "improved") != record.applied:
            yield f"acceptance says {taken.verdict}, but applied is {str(record.applied).lower()}"
        if taken is not None and taken.verdict != record.status:
            yield f"acceptance says {taken.verdict}, but the status is {record.status}"
    if isinstance(record, RepairResults):
        yield from _miscounted(record)
    if isinstance(record, TrainResults) and record.corrupted_rows > record.rows:
        yield f"{record.corrupted_rows} of {record.rows} rows are corrupted"


def _miscounted(record: RepairResults) -> Iterator[str]:
    """What is wrong with the counts by class of a user's own model."""
    counted = (
        ("before", record.confusion_before, record.test_accuracy_before),
        ("after", record.confusion_after, record.test_accuracy_after),
    )
    for when, counts, accuracy in counted:
        if counts is None:
            continue
        rows = sum(map(sum, counts))
        if any(len(row) != len(counts) for row in counts) or not rows:
            yield f"confusion_{when} is no square of counts"
        elif not math.isclose(sum(row[k] for k, row in enumerate(counts)) / rows, accuracy, abs_tol=_TOLERANCE):
            yield f"test_accuracy_{when} is not that of confusion_{when}"
