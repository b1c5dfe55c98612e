"""What feature-space unlearning did."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from unlearning.task import OutcomeStatus, WorkCount


@dataclasses.dataclass(frozen=True, eq=False)
class CentroidReport:
    """What one `fit` with the callback did.

    Attributes:
        applied: Whether the model was changed.
        status: Why.
        validation_accuracy_before: Of the model as it was.
        validation_accuracy_after: Of the model as it is left; never lower. These rows chose among many, so
            that better on them is no proof. The methods have other rows decide (see `unlearning.acceptance`).
        best_epoch: The epoch it is from, counted from 1; None where nothing was applied.
        history: One mapping a scored model (step 0 is the model as it was): `step`, `validation_accuracy`, `seconds`,
            `learning_rate`, `forget_kl`, `forget_push`, `forget_agreement` (share of forget rows still in the
            unmodified model's class), `clipped` (share of gradient entries of the forget pass that were clipped),
            `retain_alignment`; null where an epoch had no such pass. Means over the rows of a pass.
        centroids: float array `(classes, features)`, unit rows; None where the features were not finite.
        forget_rows: int64 numbers of the rows to forget whose right label is not known.
        retain_rows: int64 row numbers.
        corrected: How many of the retained rows have been given their right label.
        work: Per-example evaluations.
        duration_s: Wall-clock seconds.
    """

    applied: bool
    status: OutcomeStatus
    validation_accuracy_before: float
    validation_accuracy_after: float
    best_epoch: int | None
    history: Sequence[dict[str, Any]]
    centroids: np.ndarray | None
    forget_rows: np.ndarray
    retain_rows: np.ndarray
    corrected: int
    work: WorkCount
    duration_s: float

    def details(self) -> dict[str, Any]:
        """Returns what the result files keep beyond the history, as JSON-ready values."""
        cosines = None if self.centroids is None else np.round(self.centroids @ self.centroids.T, 4).tolist()
        return {
            "best_epoch": self.best_epoch,
            "forget_count": len(self.forget_rows),
            "retain_count": len(self.retain_rows),
            "corrected_count": self.corrected,
            "centroid_cosines": cosines,
        }
