"""Confident learning, by cleanlab."""

from __future__ import annotations

from typing import Literal

import numpy as np

from unlearning.detection.base import Detection, DetectionStatus, Detector, Evidence
from unlearning.detection.cuts import constant, is_constant
from unlearning.detection.detectors.cross_validation import Unseen
from unlearning.errors import InputError


class ConfidentLearning(Unseen, Detector):
    """Confident learning (Northcutt, Jiang and Chuang, JAIR 70, 2021) as implemented by cleanlab, which must be there.

    `scores` are one minus cleanlab's label quality, in [0, 1]; cleanlab decides who is suspect, so that there is no
    threshold.
    """

    out_of_sample: bool = True
    """Judge by cross-validated probabilities of a probe rather than by the model's own. Confident learning assumes
    them: a model's probabilities on its own training rows repeat the labels."""
    filter_by: Literal[
        "prune_by_noise_rate",
        "prune_by_class",
        "both",
        "confident_learning",
        "predicted_neq_given",
        "low_normalized_margin",
        "low_self_confidence",
    ] = "prune_by_noise_rate"
    """cleanlab's rule for suspects."""
    rank_by: Literal["self_confidence", "normalized_margin"] = "normalized_margin"
    """cleanlab's label quality."""

    def examine(self, evidence: Evidence) -> Detection:
        """Does the work of `detect`."""
        try:
            from cleanlab.filter import find_label_issues
            from cleanlab.rank import get_label_quality_scores
        except ImportError as error:
            raise InputError("confident-learning needs cleanlab. Install it with: pip install cleanlab") from error

        probabilities = self.judge_unseen(evidence) if self.out_of_sample else evidence.probabilities
        suggested = probabilities.argmax(-1)
        try:
            # One process: on Linux cleanlab would fork, which a process that holds TensorFlow does not survive.
            issues = find_label_issues(evidence.labels, probabilities, filter_by=self.filter_by, n_jobs=1)
            quality = get_label_quality_scores(evidence.labels, probabilities, method=self.rank_by)
        except (ValueError, AssertionError) as error:
            raise InputError(f"cleanlab cannot judge these labels: {error}") from error
        details = {"out_of_sample": self.out_of_sample, "filter_by": self.filter_by, "rank_by": self.rank_by}
        scores, suspects = 1 - np.asarray(quality, dtype=np.float64), np.flatnonzero(issues)
        if is_constant(scores):
            return constant(scores, suggested, details)
        status = DetectionStatus.OK if len(suspects) else DetectionStatus.NOTHING_SUSPECT
        return Detection(scores, suspects, suggested, None, status, details)
