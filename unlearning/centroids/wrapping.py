"""What is wrapped while `fit` runs: the model's loss and its optimizer. An exit stack takes it all off again."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import keras

from unlearning.centroids.settings import CentroidSettings
from unlearning.errors import InputError


def feature_layer(model: keras.Model, name: str | None) -> keras.layers.Layer:
    """Returns the dense layer whose input is the feature vector.

    Args:
        model: A built model.
        name: Name of the layer; None for the last dense one.

    Raises:
        InputError: If there is none.
    """
    layers = [x for x in model._flatten_layers(include_self=False) if isinstance(x, keras.layers.Dense)]
    chosen = [layer for layer in layers if layer.name == name] if name else layers[-1:]
    if not chosen:
        found = ", ".join(layer.name for layer in layers) or "none"
        raise InputError("feature_layer", f"one of the model's dense layers: {found}", name)
    return chosen[0]


def wrap_optimizer(
    wrapped: contextlib.ExitStack, optimizer: keras.optimizers.Optimizer, settings: CentroidSettings
) -> float:
    """Takes over learning rate and clipping.

    Args:
        wrapped: Puts the old values back.
        optimizer: The model's optimizer.
        settings: `learning_rate`, `schedule` and `clip` are looked at.

    Returns:
        The learning rate to begin with.

    Raises:
        InputError: If the optimizer has a schedule of its own.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)  # loss scaling wraps the one that clips
    if settings.learning_rate is not None or settings.schedule == "linear":
        if isinstance(inner._learning_rate, keras.optimizers.schedules.LearningRateSchedule):
            expected = "null with schedule='milestones', since the optimizer has a schedule of its own"
            raise InputError("learning_rate", expected, settings.learning_rate)
        wrapped.callback(setattr, inner, "learning_rate", float(inner.learning_rate))
    if settings.clip is not None:
        for name, value in (("clipnorm", None), ("global_clipnorm", None), ("clipvalue", settings.clip)):
            wrapped.callback(setattr, inner, name, getattr(inner, name))
            setattr(inner, name, value)
    return float(inner.learning_rate) if settings.learning_rate is None else settings.learning_rate


def wrap_loss(wrapped: contextlib.ExitStack, model: keras.Model, change: Callable) -> None:
    """Passes the model's training loss through a function.

    Args:
        wrapped: Puts the old loss back.
        model: A compiled model.
        change: From the loss and what `compute_loss` got (`x`, `y`, `y_pred`, `sample_weight`) to the loss to train on.
    """
    own = model.compute_loss

    def compute_loss(
        x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        accepted = {"training": training} if model._compute_loss_has_training_arg else {}
        loss = own(x, y, y_pred, sample_weight, **accepted)
        return change(loss, x, y, y_pred, sample_weight) if training else loss

    # Past Keras' attribute tracking, as for `call`; and the steps are traced anew, with the wrapper and without.
    previous = model.__dict__.get("compute_loss")
    object.__setattr__(model, "compute_loss", compute_loss)
    model.make_train_function(force=True)

    def restore() -> None:
        model.__dict__.pop("compute_loss", None)
        if previous is not None:
            object.__setattr__(model, "compute_loss", previous)
        model.train_function = None

    wrapped.callback(restore)
