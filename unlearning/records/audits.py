"""What a person's answers say of a detection."""

from __future__ import annotations

from typing import Literal

from unlearning.records.base import Record
from unlearning.settings import Count, Share

_VERDICTS = {
    "worth_it": "A repair is worth it: at least 2 % of the labels are wrong.",
    "not_worth_it": "A repair is hardly worth it: less than 2 % of the labels are wrong.",
    "unsure": "These answers do not tell whether a repair is worth it (2 % of the labels wrong): ask about more rows.",
}
_TRUSTED = 0.5


class EstimatedShare(Record):
    """A share estimated from answers, with its 95 % interval; see `unlearning.review.estimates`."""

    value: Share
    """The estimate."""
    low: Share
    """Lower end of the interval."""
    high: Share
    """Upper end of the interval."""

    def text(self) -> str:
        """Returns the share in percent, with its interval."""
        return f"{100 * self.value:.1f} % ({100 * self.low:.1f} to {100 * self.high:.1f} %)"


class AuditResults(Record):
    """A detection judged by a person's answers on a stratified sample of rows; see `unlearning.review.auditing`."""

    asked: Count
    """Rows that were asked about."""
    answered: Count
    """Those that were answered."""
    precision: EstimatedShare
    """Share of the suspects whose given label is wrong."""
    missed: EstimatedShare
    """Share of the other rows whose given label is wrong."""
    share: EstimatedShare
    """Share of all rows whose given label is wrong, those left out that were known before."""
    wrong_suspects: Count
    """Answered suspects whose given label is wrong."""
    right_suggestions: Count
    """Those of them whose suggested label is the right one."""
    cut_moved: bool
    """Whether the answers spoke for other suspects than the detector's."""
    f1_before: Share | None
    """F1 of the suspects as they were, by a curve fitted to the answers; None where they do not suffice for one."""
    f1_after: Share | None
    """The same of the suspects above the new cut."""
    verdict: Literal["worth_it", "not_worth_it", "unsure"]
    """Whether a repair is worth it."""

    def lines(self) -> list[str]:
        """Returns what it says, for a terminal."""
        told = [
            f"{self.answered} of {self.asked} rows were answered. Estimates with 95 % intervals:",
            f"  labels that are wrong           {self.share.text()}",
            f"  suspects that are wrong         {self.precision.text()}",
            f"  other rows that are wrong       {self.missed.text()}",
        ]
        if self.wrong_suspects:
            told.append(
                f"The suggested label is right for {self.right_suggestions} of {self.wrong_suspects} wrong suspects."
            )
        if self.f1_before is None or self.f1_after is None:
            told.append("The cut stays: too few answers of one kind to place it.")
        elif self.cut_moved:
            told.append(f"The cut moves: expected F1 {self.f1_before:.2f} -> {self.f1_after:.2f}.")
        else:
            told.append("The cut stays: the answers do not clearly speak for another one.")
        told.append(_VERDICTS[self.verdict])
        if self.verdict != "not_worth_it" and self.precision.low < _TRUSTED:
            told.append("Many suspects may be good rows: look through them before they are repaired.")
        return told
