"""How to train: one annotated field a setting. Nothing here imports Keras."""

from __future__ import annotations

import itertools
from typing import Annotated, Literal, Self

from annotated_types import Gt, Le
from pydantic import Field, model_validator

from unlearning.errors import InputError
from unlearning.settings import NonNegative, Option, Positive, PositiveFloat, Settings, since
from unlearning.training.objectives.registry import get

# Recipes were recorded without these fields before there were any; the first release already has them.
_LATER = "0.1"


class Recipe(Settings):
    """How to train. The fields are options of `run` and stand in `train_config.json`."""

    epochs: Positive = 30
    """Passes over the training rows."""
    batch_size: Positive = 128
    """Rows a training step."""
    learning_rate: PositiveFloat = 1e-3
    """Peak learning rate."""
    optimizer: Literal["adam", "sgd"] = "adam"
    """Optimizer: `adam` with AMSGrad, as the published CNN experiments, or `sgd` with momentum 0.9."""
    schedule: Literal["constant", "cosine", "step"] = "constant"
    """Learning rate over the training: `constant`, `cosine` to zero, or `step`: times `decay` at each milestone."""
    weight_decay: NonNegative = 0.0
    """Decoupled weight decay: weights shrink by `learning_rate * weight_decay` a step.

    That is how it is everywhere in Keras. Most published SGD recipes add `weight_decay * weight` to the gradient
    instead, which momentum 0.9 amplifies about tenfold, so that the same number decays weights less here.
    """
    augment: bool = False
    """Random shifts and mirroring while training."""
    mixed_precision: bool = False
    """Compute in float16 while training; weights stay float32."""
    objective: Annotated[
        str,
        since(_LATER, before="cross-entropy", group="objective"),
        Option(one_of="unlearning.training.objectives:OBJECTIVES"),
    ] = "cross-entropy"
    """What training minimises."""
    objective_options: Annotated[
        dict[str, float],
        since(_LATER, before={}, group="objective"),
        Option(flag="--objective-option", metavar="NAME=NUMBER"),
    ] = Field(default={})
    """Change a constant of the objective, such as alpha=0.4; repeatable."""
    milestones: Annotated[tuple[int, ...], since(_LATER, before=(), group="step"), Option(metavar="N,...")] = ()
    """Epochs after which the learning rate drops, such as 100,150, for `step`."""
    decay: Annotated[float, Gt(0), Le(1), since(_LATER, before=0.1, group="step")] = 0.1
    """Factor of the learning rate at a milestone."""
    nesterov: Annotated[bool, since(_LATER, before=True)] = True
    """Whether the momentum of `sgd` looks ahead (Nesterov's)."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.schedule == "step") != bool(self.milestones):
            expected = "with the schedule 'step', and only with it"
            raise InputError("milestones", expected, f"{list(self.milestones)} with {self.schedule!r}")
        if any(later <= earlier for earlier, later in itertools.pairwise((0, *self.milestones))):
            raise InputError("milestones", "ascending positive numbers of epochs", list(self.milestones))
        if self.schedule != "step" and self.decay != type(self).model_fields["decay"].default:
            raise InputError("decay", "its default without the schedule 'step'", self.decay)
        if self.optimizer != "sgd" and not self.nesterov:
            raise InputError("nesterov", "its default without the optimizer 'sgd'", self.nesterov)
        get(self.objective, self.objective_options)
        return self


class ModelRecipe(Recipe):
    """Which network, and how it is trained."""

    model: Annotated[str, Option(one_of="unlearning.architectures:ARCHITECTURES")] = "cnn_small"
    """The network."""
    deterministic: bool = False
    """Force deterministic kernels."""


class TrainSettings(Recipe):
    """How to train, and which epoch to keep."""

    monitor: str = "loss"
    """The logged value whose minimum marks the best epoch, or `last` for the last epoch."""
