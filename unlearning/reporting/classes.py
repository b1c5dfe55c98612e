"""What a repair of one's own model changed class by class, from the counts in its record."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from unlearning.records import RepairResults


@dataclasses.dataclass(frozen=True)
class ClassChange:
    """One class of the test rows.

    Attributes:
        name: Its name, or its number.
        rows: Test rows that have its label.
        before: Share of them that were told right before.
        after: The same after.
    """

    name: str
    rows: int
    before: float
    after: float

    @property
    def change(self) -> float:
        """After minus before."""
        return self.after - self.before


@dataclasses.dataclass(frozen=True)
class Mistake:
    """One class taken for another.

    Attributes:
        label: The class, by the label as found.
        said: What is predicted instead.
        before: Test rows of which that held before.
        after: The same after.
    """

    label: str
    said: str
    before: int
    after: int


def class_changes(record: RepairResults) -> list[ClassChange]:
    """Returns the classes that have test rows, those that changed most first; none where nothing changed or counted."""
    counts = _counts(record)
    if counts is None or not record.applied:
        return []
    before, after = counts
    rows, names = before.sum(axis=1), class_names(record.class_names, len(before))
    found = [
        ClassChange(names[k], int(rows[k]), float(before[k, k] / rows[k]), float(after[k, k] / rows[k]))
        for k in np.flatnonzero(rows)
    ]
    return sorted(found, key=lambda one: -abs(one.change))


def changed_mistakes(record: RepairResults, most: int = 8) -> list[Mistake]:
    """Returns the confusions of two classes whose number of test rows changed most; see `class_changes`."""
    counts = _counts(record)
    if counts is None:
        return []
    before, after = (np.where(np.eye(len(one), dtype=bool), 0, one) for one in counts)
    names = class_names(record.class_names, len(before))
    order = np.argsort(-np.abs(after - before), axis=None, kind="stable")[:most]
    found = [
        Mistake(names[label], names[said], int(before[label, said]), int(after[label, said]))
        for label, said in zip(*np.unravel_index(order, before.shape), strict=True)
    ]
    return [one for one in found if one.before != one.after]


def class_names(names: Sequence[str] | None, count: int) -> list[str]:
    """Returns one name a class: its number where none is known."""
    known = list(names or ())
    return [known[k] if k < len(known) else str(k) for k in range(count)]


def _counts(record: RepairResults) -> tuple[np.ndarray, np.ndarray] | None:
    """Both matrices; None where they are not there or do not fit each other."""
    found = record.confusion_before, record.confusion_after
    if found[0] is None or found[1] is None:
        return None
    size = len(found[0])
    if not size or any(len(one) != size or any(len(row) != size for row in one) for one in found if one is not None):
        return None
    before, after = (np.array(one, dtype=np.int64) for one in found)
    return (before, after) if (before.sum(axis=1) == after.sum(axis=1)).all() else None
