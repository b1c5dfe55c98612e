"""The objectives by name."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import keras

from unlearning.errors import invalid
from unlearning.training.objectives.losses import GeneralizedLabelSmoothing, LogitClip
from unlearning.training.objectives.mentor import MentorMixModel, MentorNetModel
from unlearning.training.objectives.mixup import MixUp
from unlearning.training.objectives.sam import SharpnessAwareModel

OBJECTIVES: dict[str, str] = {
    "cross-entropy": "plain cross-entropy",
    "mixup": "cross-entropy on blends of two images and their labels",
    "sam": "cross-entropy, lowered in a neighbourhood of the weights (two passes a step)",
    "logit-clip": "cross-entropy of logits whose norm is capped",
    "mentornet": "cross-entropy of the rows whose loss is below a moving threshold",
    "mentormix": "blends that lean on the rows below a moving threshold (two passes a step)",
    "label-smoothing": "cross-entropy against labels smoothed by a positive or negative rate",
}
"""What `prepare` knows, with a summary each."""

DEFAULTS: dict[str, dict[str, float]] = {
    "cross-entropy": {},
    "mixup": {"alpha": 0.2},
    "sam": {"rho": 0.05},
    "logit-clip": {"threshold": 1.0},
    "mentornet": {"quantile": 0.85, "ema": 0.05},
    "mentormix": {"alpha": 0.2, "quantile": 0.85, "ema": 0.05},
    "label-smoothing": {"rate": 0.2},
}
"""The options of each objective with their default values."""

ONE_DEVICE = frozenset({"sam", "mentornet", "mentormix"})
"""Those whose steps are their own and do not reduce gradients over the replicas of a `tf.distribute` strategy."""


@dataclasses.dataclass(frozen=True)
class Prepared:
    """What to compile and fit.

    Attributes:
        model: The model to train: the given one, or one that shares its layers. Save the given one.
        data: What to train it on.
        loss: What to compile it with.
    """

    model: keras.Model
    data: Any
    loss: keras.losses.Loss


def check_objective(name: str, options: Mapping[str, float] | None = None) -> None:
    """Raises `InputError` if there is no objective of this name, or it has no such options."""
    if name not in OBJECTIVES:
        raise invalid("objective", f"one of {', '.join(OBJECTIVES)}", name)
    known = DEFAULTS[name]
    unknown = sorted(set(options or {}) - set(known))
    if unknown:
        expected = f"only {', '.join(known)}" if known else "none"
        raise invalid("options", f"{expected} for the objective {name}", ", ".join(unknown))
    for option, value in (options or {}).items():
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise invalid(option, "a finite number", value)


def prepare(
    name: str,
    model: keras.Model,
    data: keras.utils.PyDataset,
    *,
    num_classes: int,
    epochs: int,
    seed: int,
    options: Mapping[str, float] | None = None,
) -> Prepared:
    """Makes an objective ready for `compile` and `fit`.

    Under `"mixup"` the batches have one-hot labels, and validation data must have them too (see `MixUp`).

    Args:
        name: A key of `OBJECTIVES`.
        model: A model with logit outputs. For `"sam"`, `"mentornet"` and `"mentormix"`: Sequential or functional.
        data: Data set of batches with class numbers as labels, such as `ShuffledBatches`.
        num_classes: Number of classes.
        epochs: Epochs of the whole training. MentorNet and MentorMix burn in for the first fifth, at most 10 epochs.
        seed: Seeds what the objective draws.
        options: Values that replace those in `DEFAULTS[name]`.

    Returns:
        Model, data and loss.

    Raises:
        InputError: If the name or an option is unknown, an option's value makes no sense, or an objective for one
            device gets a model that is on several.

    Example:
        >>> ready = prepare("sam", model, batches, num_classes=10, epochs=30, seed=0, options={"rho": 0.1})
        >>> ready.model.compile("sgd", loss=ready.loss, metrics=["accuracy"])
        >>> ready.model.fit(ready.data, epochs=30, shuffle=False)
        >>> model.save("model.keras")
    """
    check_objective(name, options)
    strategy = getattr(model, "distribute_strategy", None)  # of TensorFlow's models
    if name in ONE_DEVICE and strategy is not None and strategy.num_replicas_in_sync > 1:
        raise invalid("model", f"a model on one device for {name}", f"{strategy.num_replicas_in_sync} replicas")
    values: dict[str, Any] = {**DEFAULTS[name], **(options or {})}
    loss: keras.losses.Loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    if name == "mixup":
        mixed = MixUp(data, num_classes=num_classes, seed=seed, **values)
        return Prepared(model, mixed, keras.losses.CategoricalCrossentropy(from_logits=True))
    if name == "sam":
        return Prepared(SharpnessAwareModel(model, **values), data, loss)
    if name in ("mentornet", "mentormix"):
        wrapper: Any = MentorNetModel if name == "mentornet" else MentorMixModel
        return Prepared(wrapper(model, burn_in=_burn_in(data, epochs), seed=seed, **values), data, loss)
    if name == "logit-clip":
        return Prepared(model, data, LogitClip(**values))
    if name == "label-smoothing":
        return Prepared(model, data, GeneralizedLabelSmoothing(**values))
    return Prepared(model, data, loss)


def _burn_in(data: Any, epochs: int) -> int:
    """Batches in the epochs `e = 0, 1, ...` with `e < min(10, epochs / 5)`."""
    if epochs < 1:
        raise invalid("epochs", "a positive integer", epochs)
    if not isinstance(data, keras.utils.PyDataset) or data.num_batches is None:
        raise invalid("data", "a keras.utils.PyDataset of finite length", type(data).__name__)
    return min(10, math.ceil(epochs / 5)) * data.num_batches
