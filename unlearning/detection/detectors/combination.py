"""Several detectors together."""

from __future__ import annotations

from typing import Literal, Self

import numpy as np
from pydantic import model_validator
from scipy.stats import rankdata

from unlearning.detection.base import Detection, Evidence
from unlearning.detection.cuts import AnyCut
from unlearning.detection.registry import get
from unlearning.errors import InputError


class Combination(AnyCut):
    """The mean, over several detectors, of each row's rank.

    `scores` are in [0, 1]: the mean of `(rank - 1) / (rows - 1)`, ties sharing their mean rank. `suggested_labels` are
    the members' most frequent suggestion, the first member's where they tie.
    """

    members: tuple[str, ...] = ("loss-mixture", "neighbours", "cross-validation")
    """Registered detectors, run with their own defaults; predictions and features are computed once."""
    cut: Literal["members", "mixture", "share", "value"] = "members"  # type: ignore[assignment]
    """As elsewhere, or `members`: as many suspects as the members call suspect in the median. Mean ranks spread over
    [0, 1] whatever they rank, so that a mixture always finds two groups in them."""

    @model_validator(mode="after")
    def _members_are_detectors(self) -> Self:
        if not self.members or len(set(self.members)) != len(self.members) or "combination" in self.members:
            raise InputError("members", "different detectors other than combination", ", ".join(self.members))
        for name in self.members:
            get(name)
        return self

    def examine(self, evidence: Evidence) -> Detection:
        """Does the work of `detect`."""
        rows = len(evidence.labels)
        found = {name: get(name).examine(evidence) for name in self.members}
        ranks = [(rankdata(one.scores) - 1) / (rows - 1) for one in found.values()]
        votes = np.zeros((rows, evidence.num_classes))
        for place, one in enumerate(found.values()):
            votes[np.arange(rows), one.suggested_labels] += 1 - 1e-6 * place
        scores, suggested = np.mean(ranks, axis=0), votes.argmax(-1)
        counts = {name: len(one.suspects) for name, one in found.items()}
        details = {
            "members": {name: {"status": str(one.status), "suspects": counts[name]} for name, one in found.items()}
        }
        if self.cut != "members":
            return self._cut(scores, evidence.labels, suggested, evidence.seed, details)
        return self._counted(scores, suggested, int(np.median(list(counts.values()))), details)
