"""placeholder docstring"""

from __future__ import annotations

import dataclasses
import enum
import math

import numpy as np

LEVEL = 0.05
GUARD = 0.5


def choosing_rows(labels: np.ndarray, seed: int) -> np.ndarray:
    """Divides validation rows in halves: those that choose and those that decide.

    Args:
        labels: int64 array `(rows,)`; each class is divided evenly.
        seed: Seed of the task.

    Returns:
        Ascending row numbers of the half that chooses, at least one; it is the larger one where the number is odd.
    """
    order = np.random.default_rng((seed, 7)).permutation(len(labels))  # stream: acceptance
    by_class = order[np.argsort(labels[order], kind="stable")]
    return np.sort(by_class[::2])


@dataclasses.dataclass(frozen=True)
class Paired:
    """Two models on the same rows.

    Attributes:
        rows: Number of rows.
        before: Share of rows where the first model is right; None without rows.
        after: The same of the second model.
        gained: Rows that only the second model has right.
        lost: Rows that only the first model has right.
    """

    rows: int
    before: float | None
    after: float | None
    gained: int
    lost: int

    @property
    def difference(self) -> float:
        """Share gained less share lost; 0 without rows."""
        return (self.gained - self.lost) / self.rows if self.rows else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the difference (Agresti and Min 2005: Wald's, with half a row added to each cell)."""
        gained, lost, rows = self.gained + 0.5, self.lost + 0.5, self.rows + 2
        centre = (gained - lost) / rows
        width = 1.959964 * math.sqrt(gained + lost - (gained - lost) ** 2 / rows) / rows
        return max(-1.0, centre - width), min(1.0, centre + width)

    @property
    def p_better(self) -> float:
        """One-sided p-value of the exact sign test against "better"."""
        return _tail(self.gained, self.gained + self.lost)

    @property
    def p_worse(self) -> float:
        """One-sided p-value of the exact sign test against "worse"."""
        return _tail(self.lost, self.gained + self.lost)


def compare(before: np.ndarray, after: np.ndarray) -> Paired:
    """Compares two models on the same rows.

    Args:
        before: bool array `(rows,)`: where the first model is right.
        after: The same of the second model.
    """
    rows = len(before)
    return Paired(
        rows,
        float(np.mean(before)) if rows else None,
        float(np.mean(after)) if rows else None,
        int(np.count_nonzero(after & ~before)),
        int(np.count_nonzero(before & ~after)),
    )


def _tail(successes: int, trials: int) -> float:
    """The probability of at least so many heads of a fair coin."""
    from scipy.special import bdtrc

    return float(bdtrc(successes - 1, trials, 0.5)) if successes else 1.0


class Verdict(enum.StrEnum):
    """What came out; the words are those of `OutcomeStatus`."""

    IMPROVED = "improved"
    WORSE_ON_VALIDATION = "worse_on_validation"
    NOT_BEYOND_CHANCE = "not_beyond_chance"


@dataclasses.dataclass(frozen=True)
class Acceptance:
    """The two numbers and what follows from them.

    Attributes:
        validation: Accuracy on the validation rows that decide.
        flagged: Share of flagged rows put right; None where none are known to be bad.
        verdict: Whether this is an improvement.
    """

    validation: Paired
    flagged: Paired | None
    verdict: Verdict


def judge(deciding: Paired, everything: Paired, flagged: Paired | None) -> Acceptance:
    """Says whether a proposal is an improvement.

    Args:
        deciding: Unmodified model and proposal on the validation rows that decide.
        everything: The same on all validation rows.
        flagged: Where flagged rows are right, before and after; None where none are known to be bad.

    Returns:
        Both numbers and the verdict.
    """
    evidence = [deciding] if flagged is None else [deciding, flagged]
    if min(deciding.p_worse, everything.p_worse) <= GUARD:
        verdict = Verdict.WORSE_ON_VALIDATION
    elif any(found.p_better <= LEVEL for found in evidence):
        verdict = Verdict.IMPROVED
    else:
        verdict = Verdict.NOT_BEYOND_CHANCE
    return Acceptance(deciding, flagged, verdict)
