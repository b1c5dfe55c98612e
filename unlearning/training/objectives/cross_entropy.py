"""Plain cross-entropy."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from unlearning.training.objectives.base import Objective, Prepared, cross_entropy

if TYPE_CHECKING:
    import keras


class CrossEntropy(Objective):
    """The cross-entropy of the given labels; model and data stay what they are."""

    comparable: ClassVar[bool] = True

    def _prepare(
        self, model: keras.Model, data: keras.utils.PyDataset, num_classes: int, epochs: int, seed: int
    ) -> Prepared:
        return Prepared(model, data, cross_entropy())
