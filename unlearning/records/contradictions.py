"""What no run can have written: numbers of one record that contradict each other."""

from __future__ import annotations

import math
from collections.abc import Iterator

from pydantic import BaseModel

from unlearning.records import RepairResults, TrainResults, UnlearningResults

_TOLERANCE = 1e-9
_SHARES = ("acc_", "validation_accuracy_", "test_accuracy_", "corrected_accuracy_", "bad_label_agreement_")


def contradictions(record: BaseModel) -> Iterator[str]:
    """Yields what is impossible about one record, a line a contradiction.

    Args:
        record: The record; those of the published implementation are let through: their shares mix splits, and -1
            stands for divergence.
    """
    if not isinstance(record, RepairResults | TrainResults | UnlearningResults):
        return
    for name in type(record).model_fields:
        value = getattr(record, name)
        if (
            isinstance(value, float)
            and name.startswith(_SHARES)
            and name != "acc_perc_restored"
            and not 0 <= value <= 1
        ):
            yield f"{name} is {value}, no fraction"
        if isinstance(value, int | float) and name.endswith("_s") and value < 0:
            yield f"{name} is {value}, no duration"
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
        worse = record.validation_accuracy_after < record.validation_accuracy_before
        yield from ["worse on the validation rows than before"] * worse
    if isinstance(record, TrainResults):
        if not 0 <= record.accuracy <= 1:
            yield f"accuracy is {record.accuracy}, no fraction"
        if not 0 <= record.corrupted_rows <= record.rows:
            yield f"{record.corrupted_rows} of {record.rows} rows are corrupted"
