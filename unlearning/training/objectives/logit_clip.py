"""LogitClip: a loss that no single row can dominate (Wei et al., ICML 2023)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unlearning.settings import PositiveFloat
from unlearning.training.objectives.base import Objective, Prepared

if TYPE_CHECKING:
    import keras


class LogitClipping(Objective):
    """Cross-entropy of logits whose norm is capped; see `objects.losses.LogitClip`."""

    threshold: PositiveFloat = 1.0
    """The largest norm. Small thresholds are more robust and fit more slowly."""

    def _prepare(
        self, model: keras.Model, data: keras.utils.PyDataset, num_classes: int, epochs: int, seed: int
    ) -> Prepared:
        from unlearning.training.objectives.objects.losses import LogitClip

        return Prepared(model, data, LogitClip(self.threshold))
