"""Compiling a model for a training, once: one that comes again keeps its traced step."""

from __future__ import annotations

import contextlib
import weakref
from typing import Any

import keras

from unlearning.training.settings import TrainSettings


class OptimizerStart:
    """What a built optimizer's variables are before the first step, to start again from there.

    Args:
        optimizer: A built optimizer that has taken no step.
    """

    def __init__(self, optimizer: keras.optimizers.Optimizer) -> None:
        self._optimizer = optimizer
        # Learning rate, number of steps, scale of the loss. The others, as large as the weights, are moments: zero.
        self._scalars = [v.numpy() if v.shape == () else None for v in optimizer.variables]

    def restore(self) -> None:
        """Puts every variable back."""
        for variable, scalar in zip(self._optimizer.variables, self._scalars, strict=True):
            variable.assign(keras.ops.zeros_like(variable) if scalar is None else scalar)


_COMPILED: weakref.WeakKeyDictionary[keras.Model, tuple[Any, keras.optimizers.Optimizer, OptimizerStart]]
_COMPILED = weakref.WeakKeyDictionary()


def compile_model(model: keras.Model, data: Any, settings: TrainSettings, loss: keras.losses.Loss) -> None:
    """Compiles a model, or puts the optimizer of one that was compiled in the same way back to its start.

    Args:
        model: The model to train.
        data: What it is trained on, for the number of steps.
        settings: How to train.
        loss: What to minimise.
    """
    rate: Any = settings.learning_rate
    batches = 0  # nobody asks
    if settings.schedule != "constant":
        batches = -(-len(data[0]) // settings.batch_size) if isinstance(data, tuple) else len(data)
    wanted = settings, batches, [id(variable) for variable in model.trainable_variables]
    if model in _COMPILED:
        earlier, optimizer, start = _COMPILED[model]
        if earlier == wanted and model.optimizer is optimizer:
            start.restore()
            return
    if settings.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(settings.learning_rate, settings.epochs * batches)
    elif settings.schedule == "step":
        # A boundary is the last step (from 0) with the earlier value.
        rate = keras.optimizers.schedules.PiecewiseConstantDecay(
            [epochs * batches - 1 for epochs in settings.milestones],
            [settings.learning_rate * settings.decay**drops for drops in range(len(settings.milestones) + 1)],
        )
    decay = settings.weight_decay or None
    strategy = getattr(model, "distribute_strategy", None)  # of TensorFlow's models on several devices
    with contextlib.nullcontext() if strategy is None else strategy.scope():
        if settings.optimizer == "adam":
            optimizer = keras.optimizers.Adam(rate, amsgrad=True, weight_decay=decay)
        else:
            optimizer = keras.optimizers.SGD(rate, momentum=0.9, nesterov=settings.nesterov, weight_decay=decay)
        # A step that creates variables would be traced twice; "accuracy" as text creates its own in the first step, and
        # the optimizer does, into which, besides, a backup is loaded. With mixed precision, Keras wraps the optimizer.
        one_hot = isinstance(loss, keras.losses.CategoricalCrossentropy)
        metric = keras.metrics.CategoricalAccuracy if one_hot else keras.metrics.SparseCategoricalAccuracy
        model.compile(optimizer=optimizer, loss=loss, metrics=[metric(name="accuracy")])
        model.optimizer.build(model.trainable_variables)
    _COMPILED[model] = wanted, model.optimizer, OptimizerStart(model.optimizer)
