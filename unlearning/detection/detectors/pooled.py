"""Two probes that err on different rows, together."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import softmax

from unlearning.detection.base import Evidence
from unlearning.detection.cuts import AnchoredCut
from unlearning.detection.detectors.early_stopped import EarlyStoppedProbe
from unlearning.detection.detectors.patch_ridge import PatchRidge
from unlearning.settings import Positive


class Pooled(AnchoredCut):
    """`patches` and `probe` together: the geometric mean of their class probabilities.

    The two err on different rows, one knowing nothing but linear functions of patch statistics, the other whatever the
    network learns first. A logarithmic opinion pool averages their log-odds (Genest and Zidek, Statistical Science 1,
    1986).
    """

    filters: Positive = 512
    """See `PatchRidge`."""
    epochs: Positive = 15
    """Passes of the probe over the rows."""
    batch_size: Positive = 128
    """Its rows a step."""
    augment: bool | None = None
    """Random shifts and mirroring while the probe trains, which also puts memorisation off; null: where `patches` finds
    that mirrored images help."""

    def probabilities(self, evidence: Evidence) -> tuple[np.ndarray, dict[str, Any]]:
        """Returns the geometric means `(rows, K)`, and what there is to tell."""
        first, patches = PatchRidge(filters=self.filters).probabilities(evidence)
        augment = patches["mirror"] if self.augment is None else self.augment
        second, probe = self._probe(augment).probabilities(evidence)
        pooled = softmax(np.log(np.maximum(first, 1e-12)) / 2 + np.log(np.maximum(second, 1e-12)) / 2, axis=-1)
        return pooled, {"out_of_sample": False, "patches": patches, "probe": {**probe, "augment": augment}}

    def _probe(self, augment: bool) -> EarlyStoppedProbe:
        return EarlyStoppedProbe(epochs=self.epochs, batch_size=self.batch_size, augment=augment)
