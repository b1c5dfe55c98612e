"""How to train: one annotated field a setting. Nothing here imports Keras."""

from __future__ import annotations

import itertools
from typing import Annotated, Literal, Self

from annotated_types import Gt, Le
from pydantic import Field, model_validator

from unlearning.errors import invalid
from unlearning.settings import NonNegative, Positive, PositiveFloat, Settings, since
from unlearning.training.objectives.registry import get

# Recipes were recorded without these fields before there were any; the first release already has them.
_LATER = "0.1"


class TrainSettings(Settings):
    """How to train."""

    epochs: Positive = 30
    """Passes over the data."""
    batch_size: Positive = 128
    """Rows a step (used by whoever makes the batches)."""
    learning_rate: PositiveFloat = 1e-3
    """Peak learning rate."""
    optimizer: Literal["adam", "sgd"] = "adam"
    """`adam` (with AMSGrad, as the published CNN experiments) or `sgd` (momentum 0.9)."""
    schedule: Literal["constant", "cosine", "step"] = "constant"
    """`constant`, `cosine` decay to zero, or `step`: times `decay` at each milestone."""
    weight_decay: NonNegative = 0.0
    """Decoupled weight decay, as everywhere in Keras: weights shrink by `learning_rate * weight_decay` a step. Most
    published SGD recipes add `weight_decay * weight` to the gradient instead, which momentum 0.9 amplifies about
    tenfold, so that the same number decays weights less here."""
    augment: bool = False
    """Random shifts and mirroring (used by whoever makes the batches)."""
    mixed_precision: bool = False
    """float16 arithmetic with float32 weights (used where the model is built)."""
    monitor: str = "loss"
    """The logged value whose minimum marks the best epoch, or `last` for the last epoch."""
    objective: str = "cross-entropy"
    """What is minimised; see `unlearning.training.objectives`."""
    objective_options: dict[str, float] = Field(default={})
    """Its options, by name; those left out have their defaults."""
    milestones: Annotated[tuple[int, ...], since(_LATER, before=())] = ()
    """Numbers of finished epochs after which the learning rate drops, ascending (`step` only)."""
    decay: Annotated[float, Gt(0), Le(1), since(_LATER, before=0.1)] = 0.1
    """What the learning rate is multiplied with at each of them."""
    nesterov: Annotated[bool, since(_LATER, before=True)] = True
    """Whether the momentum of `sgd` looks ahead."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.schedule == "step") != bool(self.milestones):
            expected = "with the schedule 'step', and only with it"
            raise invalid("milestones", expected, f"{list(self.milestones)} with {self.schedule!r}")
        if any(later <= earlier for earlier, later in itertools.pairwise((0, *self.milestones))):
            raise invalid("milestones", "ascending positive numbers of epochs", list(self.milestones))
        if self.schedule != "step" and self.decay != type(self).model_fields["decay"].default:
            raise invalid("decay", "its default without the schedule 'step'", self.decay)
        if self.optimizer != "sgd" and not self.nesterov:
            raise invalid("nesterov", "its default without the optimizer 'sgd'", self.nesterov)
        get(self.objective, self.objective_options)
        return self
