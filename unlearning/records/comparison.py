"""What `show --compare` prints."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from unlearning.records.base import Record, Versioned
from unlearning.settings import Count, NonNegative, Seed, Share


class Summary(Record):
    """A number over the seeds of one method."""

    count: Count
    """Number of seeds that have the number."""
    mean: float | None
    """Its mean over these seeds; None where there is none."""
    std: NonNegative | None
    """Sample standard deviation over these seeds (divisor `count - 1`); None with fewer than two."""


class Difference(Record):
    """Method minus control, paired by seed."""

    pairs: Count
    """Number of seeds that have both."""
    mean: float | None
    """Mean over the pairs; None where there is none."""
    std: NonNegative | None
    """Sample standard deviation over the pairs (divisor `pairs - 1`); None with fewer than two."""
    low: float | None
    """Lower end of the bootstrap interval of the mean; None where there is none."""
    high: float | None
    """Upper end."""
    interval: Literal["percentile", "BCa"] | None
    """How it was made: `percentile` or `BCa` bootstrap over pairs. With few pairs it is too narrow."""
    note: str
    """Why there is no interval, where there is none."""


class ComparedMethod(Record):
    """One method of one experiment and budget. One more key a metric holds its numbers over seeds, as stored.

    The metrics are those of `unlearning.records.metrics()` that are compared: `acc_after_fix` and `acc_perc_restored`,
    fractions, and `seconds`, of the repair.
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Summary] = Field(init=False)

    experiment: str
    """The experiment's folder."""
    budget: Count
    """Requested number of corrupted rows."""
    method: str
    """The method's folder: method and variant."""
    seeds: list[Seed]
    """Seeds of its cells."""
    differences: dict[str, Difference]
    """Differences from the control by metric, in its unit; none of the control."""


class Comparison(Versioned):
    """What `show --compare` prints."""

    control: str
    """The method that all others are compared with."""
    level: Share
    """Coverage of the intervals, a fraction."""
    resamples: Count
    """Bootstrap resamples of an interval."""
    methods: list[ComparedMethod]
    """One entry a method, experiment and budget."""
