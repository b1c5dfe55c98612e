"""Sharpness-aware minimisation."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from unlearning.errors import InputError
from unlearning.interop import differentiate, joint_norm
from unlearning.training.objectives.objects.checks import number
from unlearning.training.objectives.objects.shared import SharedLayersModel


class SharpnessAwareModel(SharedLayersModel):
    """Trains a model's layers for low loss in a whole neighbourhood (Foret et al., SAM, ICLR 2021).

    With `g` the gradient at the weights `w`, a step follows the gradient found a little uphill:

        e = rho * g / (||g|| + 1e-12)        w <- optimizer step from w along the gradient at w + e

    The norm runs over all trainable weights together. Both passes are in training mode, so that batch normalisation
    sees every batch twice and dropout draws two masks; loss and metrics are those of the first. A step costs two. Needs
    the TensorFlow backend.

    Args:
        model: A built Sequential or functional model with one output; its own layers are trained.
        rho: Radius of the neighbourhood, at least 0. With 0 a step is the plain optimizer's.

    Example:
        >>> sharp = SharpnessAwareModel(model, rho=0.05)
        >>> sharp.compile("sgd", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> history = sharp.fit(images, labels, verbose=0)
        >>> model.save("trained.keras")  # the model given above is the one that was trained
    """

    def __init__(self, model: keras.Model, rho: float = 0.05) -> None:
        if keras.backend.backend() != "tensorflow":
            raise InputError("backend", "tensorflow, for sharpness-aware training", keras.backend.backend())
        rho = 0.0 if rho == 0 else number("rho", rho, "a number of at least 0", above=0)
        super().__init__(model)
        self.rho = rho

    def train_step(self, data: Any) -> dict[str, Any]:
        """Takes one step on a batch; `fit` calls this."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        variables = [v for v in self.trainable_variables if v.trainable]

        def forward() -> tuple[Any, tuple[Any, Any]]:
            logits = self(x, training=True)
            loss = self.compute_loss(x=x, y=y, y_pred=logits, sample_weight=sample_weight, training=True)
            return self.optimizer.scale_loss(loss), (logits, loss)

        (logits, loss), uphill = differentiate(forward, variables)
        rows = ops.shape(keras.tree.flatten(x)[0])[0]
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss, sample_weight=rows)

        norm = joint_norm([g for g in uphill if g is not None])
        # An overflow under mixed precision: stay put; the second pass overflows too and the optimizer skips the step.
        factor = ops.where(ops.isfinite(norm), self.rho / (norm + 1e-12), 0.0)
        here = [ops.copy(v.value) for v in variables]
        for variable, value, gradient in zip(variables, here, uphill, strict=True):
            if gradient is not None:
                step = ops.where(factor == 0, ops.zeros_like(gradient), gradient * ops.cast(factor, gradient.dtype))
                variable.assign(value + step)
        _, there = differentiate(forward, variables)
        for variable, value in zip(variables, here, strict=True):
            variable.assign(value)
        self.optimizer.apply_gradients(zip(there, variables, strict=True))
        return self.compute_metrics(x, y, logits, sample_weight=sample_weight)
