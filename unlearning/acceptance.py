"""Whether a repair is an improvement: more than chance, on rows that did not choose, and no loss bought with it.

A method scores dozens of candidates, and the best of dozens looks better than the unmodified model on the rows that
chose it even where nothing was wrong. Therefore the validation rows are divided in halves, evenly in each class and
alike for every method: one half chooses (step, damping, epoch, learning rate, alpha, round, stage), the other one
decides. The proposal is taken where all of this holds:

(a) It is not worse: no fewer rows right than before, among the rows that decide and among all validation rows.
(b) It is better, by a one-sided exact sign test at `LEVEL` on the rows where the two models differ in being right
    (McNemar's test): on the validation rows that decide, or on the flagged rows. A flagged row is right where its
    corrected label is predicted; a removed one, or one of which a method is told no more than that it is
    bad, where its given label no longer is.
(c) Known bad rows are not worse beyond chance, by the same test: a repair that says more of the wrong labels is none,
    whatever it gains elsewhere.

The design, and what it costs:

- *Halving, not a correction for many candidates.* The candidates are correlated, and their number is not known for
  every method. A correction by the number asks no less: for a hundred candidates eleven rows must be gained and none
  lost, of all rows; with halves it is five, of half of them. The price is paid on small validation sets: five of 45
  rows that decide are 11 points, and with fewer than ten validation rows only the flagged rows can meet (b).
- *(a) is strict.* Where (b) holds on the validation rows, they have not become worse; the guard matters where only the
  flagged rows speak. They say no more than that a method did what it was told: where the flags are wrong, a method that
  fits the wrong labels "puts right" as many. So the validation rows must not point the other way at all, `GUARD` = 0.5.
  "Not worse beyond chance" at 0.05 would let a true loss of two points pass in 85 of 100 cases on 135 rows (94 on 90);
  at 0.25 in 45 (57), at 0.5 in 16 (25), where 1 % of all rows are gained and 3 % lost by chance. It refuses 37 (33) of
  100 proposals that leave the accuracy as it is, which is right for a repair that only the flagged rows speak for.
- *All validation rows guard, too.* The half that chose errs on the good side, so that a loss there tells the more.
  Methods that choose nothing, such as retraining, are caught by it; and nothing that is taken is worse on validation.
- *Flagged rows count where the method was told that they are bad.* Suspects of a detector do not count: they are a
  guess, often by the model itself, and on a clean model all of them are false. A method that needs no flagged rows gets
  the verdict that it would get without.
- *Where likelihood is the measure* (`repair(..., measure="likelihood")`), the same three points are about the mean
  log-probability of the labels, and the test is that of a mean of paired differences (normal approximation). A language
  model is seldom sure of the next character: what it should no longer say moves its probabilities, and hardly any row
  from right to wrong.

Measured on 20 clean models with 60 false alarms each (`tests/benchmarks/false_alarms.py`, with its results): "any gain
on the rows that chose" took 94 of 260 repairs by 13 methods; this rule takes 2, both better on test rows. The hard case
is retraining, which fits the wrong labels. With (a) at 0.05, 0.2, 0.25 and 0.5 it is taken 16, 9, 7 and 4 times of 20,
and worse on test rows beyond chance 6, 1, 0 and 0 times; were only the rows that decide to guard, 9, 6, 4 and 0 times.

Example:
    >>> known = np.arange(100) < 80  # right before the repair
    >>> found = compare(known, np.arange(100) < 86)
    >>> round(found.difference, 2), round(found.p_better, 4)
    (0.06, 0.0156)
    >>> str(judge(found, found, None).verdict)
    'improved'
    >>> str(judge(compare(known, np.arange(100) < 83), found, None).verdict)  # 3 rows gained: one in eight by chance
    'not_beyond_chance'
"""

from __future__ import annotations

import dataclasses
import enum
import math

import numpy as np

from unlearning.streams import stream

LEVEL = 0.05
"""What is this improbable by chance alone counts as better (one-sided)."""
GUARD = 0.5
"""What is this improbable by chance alone counts as worse (one-sided): any row lost on balance."""


def choosing_rows(labels: np.ndarray, seed: int) -> np.ndarray:
    """Divides validation rows in halves: those that choose and those that decide.

    Args:
        labels: int64 array `(rows,)`; each class is divided evenly.
        seed: Seed of the task.

    Returns:
        Ascending row numbers of the half that chooses, at least one; it is the larger one where the number is odd.
    """
    order = stream(seed, "acceptance").permutation(len(labels))
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
        if not self.rows:
            return -1.0, 1.0
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

    Returns:
        How many rows each has right, and how many only one of them has.
    """
    rows = len(before)
    return Paired(
        rows,
        float(np.mean(before)) if rows else None,
        float(np.mean(after)) if rows else None,
        int(np.count_nonzero(after & ~before)),
        int(np.count_nonzero(before & ~after)),
    )


@dataclasses.dataclass(frozen=True)
class PairedLosses(Paired):
    """Two models on the same rows, by likelihood.

    `before` and `after` are the geometric means of the probabilities of what is right: the reciprocal of the
    perplexity. Rows gained are those where it has become likelier.

    Attributes:
        mean: Mean of the losses of the first model less those of the second one, in nats.
        error: Standard error of that mean.
    """

    mean: float = 0.0
    error: float = 0.0

    @property
    def difference(self) -> float:
        """`after - before`; 0 without rows."""
        return 0.0 if self.before is None or self.after is None else self.after - self.before

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the difference."""
        if self.before is None:
            return -1.0, 1.0
        ends = [self.before * math.expm1(min(self.mean + sign * 1.959964 * self.error, 50.0)) for sign in (-1, 1)]
        return max(-1.0, ends[0]), min(1.0, ends[1])

    @property
    def p_better(self) -> float:
        """One-sided p-value of the test of the mean against "better"."""
        return self._tail(1)

    @property
    def p_worse(self) -> float:
        """One-sided p-value of the test of the mean against "worse"."""
        return self._tail(-1)

    def _tail(self, sign: int) -> float:
        if self.error == 0:
            return 0.0 if sign * self.mean > 0 else 1.0
        return 0.5 * math.erfc(sign * self.mean / self.error / math.sqrt(2))


def compare_losses(before: np.ndarray, after: np.ndarray) -> PairedLosses:
    """Compares two models on the same rows by likelihood.

    Args:
        before: float array `(rows,)`: minus the log-probability of what is right, of the first model.
        after: The same of the second model.

    Returns:
        How likely each finds what is right, and the test of the difference.
    """
    rows = len(before)
    if not rows:
        return PairedLosses(0, None, None, 0, 0)
    change = before - after
    return PairedLosses(
        rows,
        math.exp(-float(np.mean(before))),
        math.exp(-float(np.mean(after))),
        int(np.count_nonzero(change > 0)),
        int(np.count_nonzero(change < 0)),
        float(np.mean(change)),
        float(np.std(change, ddof=min(1, rows - 1)) / math.sqrt(rows)),
    )


def _tail(successes: int, trials: int) -> float:
    """The probability of at least so many heads of a fair coin."""
    from scipy.special import bdtrc

    return float(bdtrc(successes - 1, trials, 0.5)) if successes else 1.0


class Verdict(enum.StrEnum):
    """What came out; the words are those of `OutcomeStatus`."""

    IMPROVED = "improved"
    WORSE_ON_VALIDATION = "worse_on_validation"
    FLAGGED_ROWS_WORSE = "flagged_rows_worse"
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
    elif flagged is not None and flagged.p_worse <= LEVEL:
        verdict = Verdict.FLAGGED_ROWS_WORSE
    elif any(found.p_better <= LEVEL for found in evidence):
        verdict = Verdict.IMPROVED
    else:
        verdict = Verdict.NOT_BEYOND_CHANCE
    return Acceptance(deciding, flagged, verdict)
