"""Whether a repair was taken, and the two numbers that say so; see `unlearning.acceptance`."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Le

from unlearning.records.base import Record
from unlearning.settings import Count, Share

Difference = Annotated[float, Ge(-1), Le(1)]
"""A difference of two shares."""


class PairedShare(Record):
    """A share of rows of the given model and of the one that was proposed, on the same rows."""

    rows: Count
    """Number of rows."""
    before: Share | None
    """Share of them for the given model; None without rows."""
    after: Share | None
    """The same for the proposed model, whether it was taken or not."""
    difference: Difference
    """`after - before`; 0 without rows."""
    interval_low: Difference
    """Lower end of the 95 % interval of the paired difference."""
    interval_high: Difference
    """Upper end."""
    p_better: Share
    """One-sided p-value of an exact sign test: how often chance alone gives at least so many gained rows."""
    p_worse: Share
    """The same for lost rows."""

    def describe(self, name: str) -> str:
        """Returns it in one line of at most 80 columns."""
        if self.before is None or self.after is None:
            return f"{name}: no rows"
        numbers = (100 * x for x in (self.difference, self.interval_low, self.interval_high))
        gain, low, high = (f"{x:+.1f}" for x in numbers)
        return (
            f"{name}: {100 * self.before:.1f} -> {100 * self.after:.1f} % right of {self.rows}, "
            f"{gain} (95 %: {low} to {high})"
        )


class Accepted(Record):
    """What decided whether a proposed model is an improvement."""

    verdict: Literal["improved", "worse_on_validation", "flagged_rows_worse", "not_beyond_chance"]
    """`improved` (it was taken), `worse_on_validation` (fewer validation rows are right, among those that decide
    or among all), `flagged_rows_worse` (beyond chance), or `not_beyond_chance` (neither number is better by more than
    chance explains)."""
    validation: PairedShare
    """Accuracy on the validation rows that decide; the others chose among candidates."""
    flagged: PairedShare | None
    """Share of flagged rows put right: the corrected label is predicted, or, of removed rows and where the method is
    told no right labels, the given one no longer is. None where nobody has flagged rows, and where a detector guessed
    them."""

    def lines(self) -> list[str]:
        """Returns both numbers, and what follows from them, in lines of at most 80 columns."""
        lines = [self.validation.describe("validation")]
        if self.flagged is not None:
            lines.append(self.flagged.describe("flagged rows"))
        if self.verdict != "improved":
            lines.append(f"Not taken: {_REASONS[self.verdict]}.")
        return lines


class Deployed(Record):
    """A LiteRT file of a repaired model, checked on the validation rows."""

    sha256: str
    """SHA-256 of the file."""
    rows: Count
    """Number of validation rows that were asked about."""
    accuracy_before: Share
    """Share of them that the given model has right."""
    accuracy_model: Share
    """The same of the repaired model in Keras."""
    accuracy_file: Share
    """The same of the LiteRT file."""
    agreement: Share
    """Share of them for which the file and the repaired model name the same class."""
    largest_difference: Annotated[float, Ge(0)]
    """Largest difference of any output of the two."""

    def line(self) -> str:
        """Returns the check in lines of at most 80 columns."""
        before, file = 100 * self.accuracy_before, 100 * self.accuracy_file
        return (
            f"LiteRT file: {before:.1f} -> {file:.1f} % right of {self.rows} validation rows, the model's class\n"
            f"for {100 * self.agreement:.1f} % of them (outputs differ by at most {self.largest_difference:.1g})"
        )


class MovedParameters(Record):
    """Which parameters a proposed model changed."""

    parameters: Count
    """How many are in variables that changed."""
    of: Count
    """How many the model trains."""
    layer: str | None
    """Name of the first layer that changed; None where none did."""

    def line(self) -> str:
        """Returns it in one line."""
        where = "" if self.layer is None else f" (from layer {self.layer} on)"
        return f"moved {self.parameters:,} of {self.of:,} parameters{where}"


_REASONS = {
    "worse_on_validation": "validation rows got worse",
    "flagged_rows_worse": "flagged rows got worse",
    "not_beyond_chance": "the gain may be chance; more validation rows could tell",
}
