"""What a few answers say: how many suspects are wrong, how many labels, where the cut should be, and whether to repair.

A repair is worth it where at least `WORTH` of the labels are wrong, by the whole interval: a share below that costs a
classifier less than what can be told from chance on a few hundred validation rows. Between the two more questions help.

Example:
    >>> scores, given = np.arange(1000.0), np.zeros(1000, dtype=int)
    >>> suspects = np.arange(800, 1000)
    >>> from unlearning.review.sampling import draw_sample
    >>> sample = draw_sample(scores, suspects, 50, seed=0)
    >>> answers = Corrections(sample.rows, (sample.rows >= 820).astype(int))
    >>> audit = judge(scores, suspects, np.ones(1000, dtype=int), given, sample, answers)
    >>> audit.wrong_suspects, audit.verdict.value
    (17, 'worth_it')
"""

from __future__ import annotations

import dataclasses
import enum

import numpy as np

from unlearning.errors import InputError
from unlearning.records.audits import AuditResults, EstimatedShare
from unlearning.review.cut import Cut, move_cut
from unlearning.review.estimates import Interval, estimate_share
from unlearning.review.sampling import Sample
from unlearning.task import Corrections

WORTH = 0.02


class Verdict(enum.StrEnum):
    """Whether a repair is worth it."""

    WORTH_IT = "worth_it"
    NOT_WORTH_IT = "not_worth_it"
    UNSURE = "unsure"


@dataclasses.dataclass(frozen=True, eq=False)
class Audit:
    """What answers say of all rows. Rows that were known before are left out of all shares.

    Attributes:
        asked: Rows that were asked about.
        answered: Those that were answered.
        precision: Share of the suspects whose given label is wrong.
        missed: Share of the other rows whose given label is wrong.
        share: Share of all rows whose given label is wrong.
        wrong_suspects: Answered suspects whose given label is wrong.
        right_suggestions: Those of them whose suggested label is the right one.
        cut: Where the cut should be.
        verdict: Whether a repair is worth it.
    """

    asked: int
    answered: int
    precision: Interval
    missed: Interval
    share: Interval
    wrong_suspects: int
    right_suggestions: int
    cut: Cut
    verdict: Verdict

    def record(self) -> AuditResults:
        """Returns the same as records have it."""
        return AuditResults(
            asked=self.asked,
            answered=self.answered,
            precision=EstimatedShare(**self.precision._asdict()),
            missed=EstimatedShare(**self.missed._asdict()),
            share=EstimatedShare(**self.share._asdict()),
            wrong_suspects=self.wrong_suspects,
            right_suggestions=self.right_suggestions,
            cut_moved=self.cut.moved,
            f1_before=self.cut.f1_before,
            f1_after=self.cut.f1_after,
            verdict=self.verdict.value,
        )


def judge(
    scores: np.ndarray,
    suspects: np.ndarray,
    suggested: np.ndarray,
    given: np.ndarray,
    sample: Sample,
    answers: Corrections,
) -> Audit:
    """Judges a detection by answers.

    Args:
        scores: Of all rows, float64 `(rows,)`.
        suspects: Row numbers of the suspects.
        suggested: Suggested labels of all rows.
        given: Given labels of all rows.
        sample: The rows that were asked about.
        answers: Rows with the labels that should stand there; the given one where it is right, -1 where none is. Rows
            outside of the sample are not looked at: nobody has drawn them.

    Returns:
        What the answers say.

    Raises:
        InputError: If none of them is about the sample.
    """
    answered = np.isin(sample.rows, answers.rows)
    if not answered.any():
        raise InputError("answers", "rows that the audit asked about", f"{len(answers)} other rows")
    told = dict(zip(answers.rows.tolist(), answers.labels.tolist(), strict=True))
    rows, strata = sample.rows[answered], sample.strata[answered]
    right = np.array([told[row] for row in rows.tolist()])
    wrong = right != given[rows]
    asked = np.bincount(strata, minlength=len(sample.sizes))
    yes = np.bincount(strata[wrong], minlength=len(sample.sizes))
    inside = sample.suspect
    share = estimate_share(yes, asked, sample.sizes)
    suspect_wrong = wrong & inside[strata]
    return Audit(
        asked=len(sample.rows),
        answered=len(rows),
        precision=estimate_share(yes[inside], asked[inside], sample.sizes[inside]),
        missed=estimate_share(yes[~inside], asked[~inside], sample.sizes[~inside]),
        share=share,
        wrong_suspects=int(suspect_wrong.sum()),
        right_suggestions=int(np.count_nonzero((right == suggested[rows])[suspect_wrong])),
        cut=move_cut(scores, suspects, rows, wrong),
        verdict=(
            Verdict.WORTH_IT if share.low >= WORTH else Verdict.NOT_WORTH_IT if share.high < WORTH else Verdict.UNSURE
        ),
    )
