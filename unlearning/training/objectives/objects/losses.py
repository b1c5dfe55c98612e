"""Loss functions on logits that are less impressed by wrong labels than cross-entropy."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from unlearning.training.objectives.objects.checks import number


def label_probabilities(labels: Any, logits: Any) -> Any:
    """Returns labels as probabilities of the logits' shape.

    Args:
        labels: Class numbers of shape `(rows,)` or `(rows, 1)`, or probabilities of shape `(rows, classes)`.
        logits: Tensor of shape `(rows, classes)`.
    """
    classes = logits.shape[-1]
    if len(labels.shape) == len(logits.shape) and labels.shape[-1] == classes:
        return ops.cast(labels, logits.dtype)
    if len(labels.shape) == len(logits.shape):
        labels = ops.squeeze(labels, -1)
    return ops.one_hot(ops.cast(labels, "int32"), classes, dtype=logits.dtype)


@keras.saving.register_keras_serializable(package="unlearning")
class GeneralizedLabelSmoothing(keras.losses.Loss):
    """Cross-entropy against labels smoothed by a rate of either sign (Wei et al., "To smooth or not?", ICML 2022).

    With `p` the softmax of the logits, `y` the label and `r` the rate, a row's loss over `K` classes is

        (1 - r) * (-log p[y]) + r * mean_k(-log p[k])

    A positive rate pulls towards the uniform distribution (ordinary label smoothing), 0 is cross-entropy, and a
    negative rate pushes away from it, which the authors find better the more labels are wrong. For a negative rate the
    loss has no lower bound: watch an accuracy, not the loss, for the best epoch.

    Args:
        rate: The rate, any number below 1.
        name: Name of the loss.
        **kwargs: Further arguments of `keras.losses.Loss` (`reduction`, `dtype`).

    Call arguments are labels, as class numbers or as probabilities of shape `(rows, classes)`, and logits.

    Example:
        >>> loss = GeneralizedLabelSmoothing(-0.4)
        >>> model.compile("sgd", loss=loss, metrics=["accuracy"])
    """

    def __init__(self, rate: float = 0.2, name: str = "generalized_label_smoothing", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.rate = number("rate", rate, "a number below 1", below=1)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns one loss a row."""
        surprise = -ops.log_softmax(y_pred, axis=-1)
        given = ops.sum(label_probabilities(y_true, y_pred) * surprise, axis=-1)
        return (1 - self.rate) * given + self.rate * ops.mean(surprise, axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Returns what `from_config` needs."""
        return {**super().get_config(), "rate": self.rate}


@keras.saving.register_keras_serializable(package="unlearning")
class LogitClip(keras.losses.Loss):
    """Cross-entropy of logits whose Euclidean norm is capped (Wei et al., LogitClip, ICML 2023).

    A row of logits `z` at least as long as the threshold `t` is shortened to length `t`, keeping its direction:

        z <- z * t / max(t, ||z||)

    The loss is then bounded by `log(1 + (K - 1) * exp(sqrt(2) * t))` for `K` classes, so that no single wrong label can
    dominate the gradient.

    Args:
        threshold: The largest norm, a positive number. Small thresholds are more robust and fit more slowly.
        name: Name of the loss.
        **kwargs: Further arguments of `keras.losses.Loss` (`reduction`, `dtype`).

    Call arguments are labels, as class numbers or as probabilities of shape `(rows, classes)`, and logits.

    Example:
        >>> model.compile("sgd", loss=LogitClip(1.0), metrics=["accuracy"])
    """

    def __init__(self, threshold: float = 1.0, name: str = "logit_clip", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.threshold = number("threshold", threshold, "a positive number", above=0)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns one loss a row."""
        # The maximum is taken before the root: the root's slope at 0 is infinite, and all logits may be 0.
        squared = ops.maximum(ops.sum(ops.square(y_pred), axis=-1, keepdims=True), self.threshold**2)
        clipped = y_pred * (self.threshold / ops.sqrt(squared))
        return -ops.sum(label_probabilities(y_true, y_pred) * ops.log_softmax(clipped, axis=-1), axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Returns what `from_config` needs."""
        return {**super().get_config(), "threshold": self.threshold}
