"""Judging every row by a linear model that never saw it, on features that no label has shaped.

The trained model may have learned every wrong label by heart, and its features with them. Here neither is looked at;
the leave-one-out predictions come in closed form, in a minute or two.
"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from annotated_types import Gt, Le, MinLen

from unlearning.detection.base import Evidence
from unlearning.detection.cuts import AnchoredCut
from unlearning.detection.patches import PatchFeatures
from unlearning.detection.ridge import LeaveOneOut, calibrate, leave_one_out
from unlearning.settings import NonNegative, Positive, PositiveFloat, since
from unlearning.streams import stream

_MIRROR_ROWS = 2000  # that decide whether images may be mirrored


class PatchRidge(AnchoredCut):
    """Leave-one-out ridge regression on label-free patch features.

    See `unlearning.detection.patches` and `unlearning.detection.ridge`. The model is not looked at. `scores` are
    log-odds against the given label; probabilities come from one temperature on the leave-one-out predictions.
    """

    filters: Positive = 512
    """Number of patches; an image gets `2 * filters * grid**2` features."""
    patch: Positive = 6
    """Side of a patch, in pixels of the image shrunk to 32."""
    grid: Positive = 2
    """Responses are averaged over `grid x grid` regions."""
    kept: Annotated[float, Gt(0), Le(1), since("0.2", before=1.0)] = 0.98
    """Share of the variance of filter responses that the directions of patches must account for; with fewer directions
    filtering is cheaper."""
    activation: NonNegative = 0.25
    """Filter responses below it count as none."""
    mirror: bool | None = None
    """Let an image and its mirror image count as the same; null decides by leave-one-out accuracy on the given labels
    of up to 2,000 rows."""
    penalties: Annotated[tuple[PositiveFloat, ...], MinLen(1)] = (1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 1.0)
    """Of the ridge regression, in units of the number of rows; the leave-one-out error chooses."""

    def probabilities(self, evidence: Evidence) -> tuple[np.ndarray, dict[str, Any]]:
        """Returns class probabilities `(rows, K)` of every row without itself, and what there is to tell."""
        images, labels = evidence.split.images, evidence.labels
        features = PatchFeatures(
            images,
            filters=self.filters,
            size=self.patch,
            threshold=self.activation,
            grid=self.grid,
            kept=self.kept,
            seed=evidence.seed,
        )
        mirror = self._mirror(features, evidence) if self.mirror is None else self.mirror
        found = self._ridge(features(images, mirror=mirror), labels, evidence.num_classes)
        probabilities = calibrate(found.predictions, labels)
        agreeing = float(np.mean(found.predictions.argmax(-1) == labels))
        details = {
            "out_of_sample": True,
            "features": features.count,
            "mirror": mirror,
            "penalty": found.penalty,
            "leave_one_out_accuracy": agreeing,
        }
        return probabilities, details

    def _ridge(self, features: np.ndarray, labels: np.ndarray, num_classes: int) -> LeaveOneOut:
        return leave_one_out(features, labels, num_classes, self.penalties)

    def _mirror(self, features: PatchFeatures, evidence: Evidence) -> bool:
        """Whether mirrored images help to predict the given labels of some rows."""
        rows = stream(evidence.seed, "detector", "mirror rows").permutation(len(evidence.labels))[:_MIRROR_ROWS]
        some = evidence.split.subset(np.sort(rows))
        plain = features(some.images)
        mirrored = plain + features.mirrored(some.images)
        hits = [
            np.mean(self._ridge(seen, some.labels, evidence.num_classes).predictions.argmax(-1) == some.labels)
            for seen in (plain, mirrored)
        ]
        return bool(hits[1] > hits[0])
