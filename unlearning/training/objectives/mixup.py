"""MixUp: every batch blended with itself (Zhang et al., ICLR 2018)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unlearning.settings import NonNegative
from unlearning.training.objectives.base import Objective, Prepared

if TYPE_CHECKING:
    import keras


class Mixup(Objective):
    """Cross-entropy on blends of two rows, labels included; see `objects.mixup.MixUp`.

    Batches then have one-hot labels, and validation data must have them too.
    """

    alpha: NonNegative = 0.2
    """Both parameters of the beta distribution of shares. Small: most blends are nearly one of the two rows."""

    def _prepare(
        self, model: keras.Model, data: keras.utils.PyDataset, num_classes: int, epochs: int, seed: int
    ) -> Prepared:
        import keras

        from unlearning.training.objectives.objects.mixup import MixUp

        mixed = MixUp(data, self.alpha, num_classes=num_classes, seed=seed)
        return Prepared(model, mixed, keras.losses.CategoricalCrossentropy(from_logits=True))
