"""Label smoothing by a rate of either sign (Wei et al., "To smooth or not?", ICML 2022)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from annotated_types import Lt

from unlearning.training.objectives.base import Objective, Prepared

if TYPE_CHECKING:
    import keras


class LabelSmoothing(Objective):
    """Cross-entropy against smoothed labels; see `objects.losses.GeneralizedLabelSmoothing`."""

    rate: Annotated[float, Lt(1)] = 0.2
    """Share of the uniform distribution in a label. Negative rates push away from it."""

    def _prepare(
        self, model: keras.Model, data: keras.utils.PyDataset, num_classes: int, epochs: int, seed: int
    ) -> Prepared:
        from unlearning.training.objectives.objects.losses import GeneralizedLabelSmoothing

        return Prepared(model, data, GeneralizedLabelSmoothing(self.rate))
