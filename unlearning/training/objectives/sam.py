"""Sharpness-aware minimisation (Foret et al., ICLR 2021)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from unlearning.settings import NonNegative
from unlearning.training.objectives.base import Objective, Prepared, cross_entropy

if TYPE_CHECKING:
    import keras


class Sam(Objective):
    """Cross-entropy, low in a whole neighbourhood of the weights; see `objects.sam.SharpnessAwareModel`."""

    one_device: ClassVar[bool] = True

    rho: NonNegative = 0.05
    """Radius of the neighbourhood."""

    def _prepare(
        self, model: keras.Model, data: keras.utils.PyDataset, num_classes: int, epochs: int, seed: int
    ) -> Prepared:
        from unlearning.training.objectives.objects.sam import SharpnessAwareModel

        return Prepared(SharpnessAwareModel(model, self.rho), data, cross_entropy())
