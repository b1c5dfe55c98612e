"""Detectors that judge by the losses of the given labels under the model itself.

They are blind to labels that the model has memorised.
"""

from __future__ import annotations

from unlearning.detection.base import Detection, Detector, Evidence
from unlearning.detection.cuts import MixtureCut, constant, first_ranked, is_constant
from unlearning.errors import InputError
from unlearning.evaluation import label_loss
from unlearning.settings import OpenShare, Positive


class LossMixture(MixtureCut):
    """Two Gaussians on the cross-entropies of the given labels; suspects are the rows of the higher one.

    Li, Socher and Hoi, "DivideMix" (ICLR 2020), section 3.1, with its constants. Two departures: the line is drawn at
    one crossing of the posterior (see `Mixture.boundary`), and a mixture that has collapsed says so. A model that was
    trained until it memorised its labels gives wrong labels no higher loss.

    `scores` are cross-entropies in nats.
    """

    def examine(self, evidence: Evidence) -> Detection:
        """Does the work of `detect`."""
        probabilities, labels = evidence.probabilities, evidence.labels
        losses = label_loss(probabilities, labels)
        return self._split(losses, labels, probabilities.argmax(-1), evidence.seed, {"out_of_sample": False})


class LossRanking(Detector):
    """The rows of the highest cross-entropy.

    `scores` are cross-entropies in nats; `threshold` is the lowest of a suspect.
    """

    share: OpenShare = 0.2
    """Share of rows to call suspect."""
    count: Positive | None = None
    """Number of rows to call suspect; replaces `share`."""

    def examine(self, evidence: Evidence) -> Detection:
        """Does the work of `detect`."""
        probabilities, rows = evidence.probabilities, len(evidence.labels)
        if self.count is not None and self.count > rows:
            raise InputError("count", f"at most the number of rows ({rows})", self.count)
        losses, suggested = label_loss(probabilities, evidence.labels), probabilities.argmax(-1)
        details = {"out_of_sample": False}
        if is_constant(losses):
            return constant(losses, suggested, details)
        return first_ranked(losses, suggested, self.count or max(1, round(self.share * rows)), details)
