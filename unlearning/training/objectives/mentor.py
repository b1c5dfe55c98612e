"""Trusting rows with a small loss: MentorNet in its threshold form (ICML 2018), and MentorMix (ICML 2020).

Both burn in, by tossing coins, for the first fifth of the epochs, at most ten.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from annotated_types import Ge, Lt

from unlearning.errors import InputError
from unlearning.settings import OpenShare, PositiveFloat
from unlearning.training.objectives.base import Objective, Prepared, cross_entropy

if TYPE_CHECKING:
    import keras


class MentorNet(Objective):
    """Cross-entropy of the rows with the smaller losses; see `objects.mentor.MentorNetModel`."""

    one_device: ClassVar[bool] = True

    quantile: OpenShare = 0.85
    """Share of a batch's rows to keep."""
    ema: Annotated[float, Ge(0), Lt(1)] = 0.05
    """Weight of the previous threshold."""

    def _prepare(
        self, model: keras.Model, data: keras.utils.PyDataset, num_classes: int, epochs: int, seed: int
    ) -> Prepared:
        from unlearning.training.objectives.objects.mentor import MentorNetModel

        wrapper = MentorNetModel(model, self.quantile, self.ema, burn_in=_burn_in(data, epochs), seed=seed)
        return Prepared(wrapper, data, cross_entropy())


class MentorMix(MentorNet):
    """Cross-entropy on blends that lean on trusted rows; see `objects.mentor.MentorMixModel`."""

    alpha: PositiveFloat = 0.2
    """Both parameters of the Dirichlet distribution of shares. Small: hardly any blending."""

    def _prepare(
        self, model: keras.Model, data: keras.utils.PyDataset, num_classes: int, epochs: int, seed: int
    ) -> Prepared:
        from unlearning.training.objectives.objects.mentor import MentorMixModel

        burn_in = _burn_in(data, epochs)
        wrapper = MentorMixModel(model, self.alpha, self.quantile, self.ema, burn_in=burn_in, seed=seed)
        return Prepared(wrapper, data, cross_entropy())


def _burn_in(data: Any, epochs: int) -> int:
    """Batches in the epochs `e = 0, 1, ...` with `e < min(10, epochs / 5)`."""
    import keras

    if epochs < 1:
        raise InputError("epochs", "a positive integer", epochs)
    if not isinstance(data, keras.utils.PyDataset) or data.num_batches is None:
        raise InputError("data", "a keras.utils.PyDataset of finite length", type(data).__name__)
    return min(10, math.ceil(epochs / 5)) * data.num_batches
