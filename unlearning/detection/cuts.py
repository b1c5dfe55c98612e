"""Where detectors draw the line between suspects and the rest, and what says that the line deserves no trust."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import model_validator

from unlearning.detection.base import Detection, DetectionStatus, Detector, Evidence, logger
from unlearning.detection.mixture import Mixture, fit_mixture
from unlearning.detection.scoring import estimate_noise_rate, log_odds, share_by_known
from unlearning.detection.transition import can_estimate, estimate_transition
from unlearning.errors import InputError
from unlearning.settings import NonNegative, OpenShare, Positive, PositiveFloat, Share, since

_FEWEST_ROWS_FOR_A_MIXTURE = 10  # of one class; a class with fewer gets no mixture of its own


def is_constant(scores: np.ndarray) -> bool:
    """Whether scores differ by no more than rounding."""
    return bool(np.ptp(scores) <= 1e-12 * max(1.0, float(np.abs(scores).max())))


def highest(scores: np.ndarray, count: int) -> np.ndarray:
    """The rows of the highest scores, ascending; ties go to the earlier row."""
    return np.sort(np.argsort(-scores, kind="stable")[:count])


class MixtureCut(Detector):
    """What detectors share that split their scores by a mixture of two Gaussians, guards included."""

    normalise: bool = True
    """Fit on scores scaled to [0, 1]."""
    per_class: bool = False
    """Fit one mixture a given class; classes differ in how hard they are."""
    threshold: OpenShare = 0.5
    """Suspect are rows whose posterior of the higher component exceeds this."""
    min_separation: NonNegative = 2.0
    """Least distance of the two means in pooled standard deviations; below it the mixture counts as collapsed and
    nothing is suspect."""
    min_share: Share = 0.001
    """Below this share of suspects the result counts as lopsided (the suspects stay)."""
    max_share: Share = 0.7
    """Above this share, too."""
    max_iter: Positive = 10
    """Most EM iterations."""
    tol: PositiveFloat = 1e-2
    """Of EM, in mean log-likelihood."""
    reg_covar: PositiveFloat = 5e-4
    """Added to the variances."""

    @model_validator(mode="after")
    def _shares_in_order(self) -> Self:
        if not self.min_share < self.max_share:
            raise InputError(
                "min_share, max_share", "0 <= min_share < max_share <= 1", (self.min_share, self.max_share)
            )
        return self

    def _split(
        self, scores: np.ndarray, labels: np.ndarray, suggested: np.ndarray, seed: int, details: Mapping[str, Any]
    ) -> Detection:
        """Draws the line by mixture."""
        if is_constant(scores):
            return constant(scores, suggested, details)
        if not self.per_class:
            mixture = self._fit(scores, seed)
            details = {**details, "posterior_threshold": self.threshold, "mixture": mixture.describe()}
            if mixture.separation < self.min_separation:
                return nothing(scores, suggested, DetectionStatus.COLLAPSED_MIXTURE, details)
            line = mixture.boundary(scores, self.threshold)
            return self._above(scores, suggested, line, details)
        suspect, by_class = np.zeros(len(scores), dtype=bool), {}
        for label in np.unique(labels):
            rows = np.flatnonzero(labels == label)
            if len(rows) < _FEWEST_ROWS_FOR_A_MIXTURE or is_constant(scores[rows]):
                by_class[str(label)] = {"status": "too_few_or_equal", "rows": len(rows)}
                continue
            mixture = self._fit(scores[rows], seed)
            split = mixture.separation >= self.min_separation
            line = mixture.boundary(scores[rows], self.threshold) if split else None
            if line is not None:
                suspect[rows[scores[rows] > line]] = True
            status = "ok" if split else str(DetectionStatus.COLLAPSED_MIXTURE)
            by_class[str(label)] = {"status": status, "rows": len(rows), "boundary": line, **mixture.describe()}
        details = {**details, "posterior_threshold": self.threshold, "classes": by_class}
        without = [label for label, entry in by_class.items() if entry["status"] != "ok"]
        if len(without) == len(by_class):
            return nothing(scores, suggested, DetectionStatus.COLLAPSED_MIXTURE, details)
        if without:
            logger.warning("No two groups of scores in class %s; no row there is called suspect.", ", ".join(without))
        return self._checked(scores, np.flatnonzero(suspect), suggested, None, details)

    def _fit(self, scores: np.ndarray, seed: int) -> Mixture:
        return fit_mixture(
            scores,
            normalise=self.normalise,
            max_iter=self.max_iter,
            tol=self.tol,
            reg_covar=self.reg_covar,
            seed=seed,
        )

    def _above(
        self, scores: np.ndarray, suggested: np.ndarray, line: float | None, details: Mapping[str, Any]
    ) -> Detection:
        suspects = np.flatnonzero(scores > line) if line is not None else np.empty(0, np.int64)
        return self._checked(scores, suspects, suggested, line, details)

    def _checked(
        self,
        scores: np.ndarray,
        suspects: np.ndarray,
        suggested: np.ndarray,
        line: float | None,
        details: Mapping[str, Any],
    ) -> Detection:
        """Adds what the number of suspects says about them."""
        status = DetectionStatus.OK
        if not len(suspects):
            status = DetectionStatus.NOTHING_SUSPECT
        elif not self.min_share <= len(suspects) / len(scores) <= self.max_share:
            status = DetectionStatus.LOPSIDED
        return Detection(scores, suspects, suggested, line, status, details)


class AnyCut(MixtureCut):
    """What detectors share that leave the choice of line to the user."""

    cut: Literal["mixture", "share", "value"] = "mixture"
    """`mixture` (see above), `share` (the highest `share` of the scores) or `value` (scores above `value`)."""
    share: OpenShare = 0.2
    """For `cut="share"`."""
    value: float | None = None
    """For `cut="value"`, in the detector's unit."""

    @model_validator(mode="after")
    def _value_where_it_cuts(self) -> Self:
        if self.cut == "value" and self.value is None:
            raise InputError("value", "a finite number with cut=value", self.value)
        return self

    def _cut(
        self, scores: np.ndarray, labels: np.ndarray, suggested: np.ndarray, seed: int, details: Mapping[str, Any]
    ) -> Detection:
        """Draws the line that the options ask for."""
        if self.cut == "mixture":
            return self._split(scores, labels, suggested, seed, details)
        if is_constant(scores):
            return constant(scores, suggested, details)
        if self.cut == "share":
            return first_ranked(scores, suggested, max(1, round(self.share * len(scores))), details)
        return self._above(scores, suggested, self.value, details)

    def _counted(self, scores: np.ndarray, suggested: np.ndarray, count: int, details: Mapping[str, Any]) -> Detection:
        """Calls a number of rows suspect that the data have given, which may be none or implausible."""
        if is_constant(scores):
            return constant(scores, suggested, details)
        if not count:
            return nothing(scores, suggested, DetectionStatus.NOTHING_SUSPECT, details)
        found = first_ranked(scores, suggested, count, details)
        return self._checked(scores, found.suspects, suggested, found.threshold, details)


class AnchoredCut(AnyCut):
    """What detectors share that judge rows by class probabilities which the rows' own labels have (hardly) shaped.

    `scores` are log-odds: the logarithm of the most likely other class's probability less the given label's.
    """

    cut: Literal["anchors", "mixture", "share", "value"] = "anchors"  # type: ignore[assignment]
    """As elsewhere, or `anchors`: as many suspects as `estimate_noise_rate` expects, but no row whose given label is
    the likeliest."""
    anchor_share: OpenShare = 0.05
    """Share of the rows of each predicted class that serve as anchors."""
    transition: Annotated[bool, since("0.2", before=False)] = False
    """Estimate who is mistaken for whom, and let it judge; see `unlearning.detection.transition`. The line is then
    drawn at the share of wrong labels that it estimates. Not with fewer rows than pairs of classes."""

    @abc.abstractmethod
    def probabilities(self, evidence: Evidence) -> tuple[np.ndarray, dict[str, Any]]:
        """Returns class probabilities of every row, float64 `(rows, K)`, and what there is to tell."""

    def examine(self, evidence: Evidence) -> Detection:
        """Does the work of `detect`."""
        return self._judge(*self.probabilities(evidence), evidence)

    def _judge(self, probabilities: np.ndarray, details: Mapping[str, Any], evidence: Evidence) -> Detection:
        """Ranks rows by log-odds against their given labels and draws the line."""
        labels, suggested = evidence.labels, probabilities.argmax(-1)
        scores, probable = log_odds(probabilities, labels), probabilities
        if self.transition and can_estimate(*probabilities.shape) and not is_constant(scores):
            found = estimate_transition(probabilities, labels, evidence.possible)
            scores, suggested, probable = found.scores(labels), found.suggested(), found.judging
            rate = share_by_known(scores, labels, found.share, evidence.known)
            details = {**details, **found.describe(labels)}
        else:
            rate = estimate_noise_rate(probabilities, labels, self.anchor_share)
        details = {**details, "estimated_noise_rate": rate}
        if self.cut != "anchors":
            cut = self._cut(scores, labels, suggested, evidence.seed, details)
        else:
            count = min(round(rate * len(labels)), int(np.count_nonzero(scores > 0)))
            cut = self._counted(scores, suggested, count, details)
        return dataclasses.replace(cut, probabilities=probable)


def nothing(
    scores: np.ndarray, suggested: np.ndarray, status: DetectionStatus, details: Mapping[str, Any]
) -> Detection:
    """Returns a detection without suspects, and why."""
    return Detection(scores, np.empty(0, np.int64), suggested, None, status, details)


def constant(scores: np.ndarray, suggested: np.ndarray, details: Mapping[str, Any]) -> Detection:
    """Returns the detection where all scores are equal."""
    return nothing(scores, suggested, DetectionStatus.CONSTANT_SCORES, details)


def first_ranked(scores: np.ndarray, suggested: np.ndarray, count: int, details: Mapping[str, Any]) -> Detection:
    """A given number of suspects; the threshold is the lowest score among them."""
    suspects = highest(scores, count)
    lowest = float(scores[suspects].min())
    return Detection(scores, suspects, suggested, lowest, DetectionStatus.OK, details)
