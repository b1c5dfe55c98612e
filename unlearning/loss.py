"""The loss that a model was trained with, as far as a file does not say it: a repair minimises the same.

With label smoothing `s` and class weights `c`, a row of the class `y` counts
`c[y] ((1 - s) (-log p[y]) + s mean_k(-log p[k]))`, as Keras computes `CategoricalCrossentropy(label_smoothing=s)` with
`class_weight=c`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from annotated_types import Ge, Lt, MinLen

from unlearning.errors import InputError
from unlearning.settings import PositiveFloat, Settings

if TYPE_CHECKING:
    import keras


class OriginalLoss(Settings):
    """How the model's own training differed from plain cross-entropy.

    Example:
        >>> OriginalLoss(class_weights=(1.0, 3.0)).weights(np.array([0, 1, 1]))
        array([1., 3., 3.])
    """

    label_smoothing: Annotated[float, Ge(0), Lt(1)] = 0.0
    """Share of the uniform distribution in the labels."""
    class_weights: Annotated[tuple[PositiveFloat, ...], MinLen(2)] | None = None
    """One weight a class; None: all count the same."""

    @property
    def is_plain(self) -> bool:
        """Whether this is cross-entropy."""
        return not self.label_smoothing and self.class_weights is None

    def check(self, num_classes: int) -> None:
        """Raises `InputError` unless there is one weight a class."""
        if self.class_weights is not None and len(self.class_weights) != num_classes:
            raise InputError("loss.class_weights", f"one weight for each of {num_classes} classes", self.class_weights)

    def weights(self, labels: np.ndarray) -> np.ndarray:
        """Returns the weight of each row by its label, float64 `(rows,)`; a removed row's (-1) counts 1."""
        if self.class_weights is None:
            return np.ones(len(labels))
        return np.append(self.class_weights, 1.0)[labels]

    def weigh(self, targets: np.ndarray) -> np.ndarray:
        """Returns class weights, whose cross-entropy is this loss.

        Args:
            targets: One-hot labels or probabilities over them, float `(rows, K)`.

        Returns:
            Weights of the negative logarithms of the probabilities, `(rows, K)`; with class weights they need not sum
            to one.
        """
        if self.is_plain:
            return targets
        counted = targets if self.class_weights is None else targets * np.asarray(self.class_weights, targets.dtype)
        share = self.label_smoothing
        return (1 - share) * counted + share * counted.mean(axis=1, keepdims=True)

    def build(self, closed: bool) -> keras.losses.Loss:
        """Returns the loss for a model.

        Args:
            closed: Whether the model puts out probabilities; else logits.
        """
        import keras

        if self.is_plain:
            return keras.losses.SparseCategoricalCrossentropy(from_logits=not closed)
        return _stated(self, closed)


PLAIN = OriginalLoss()
"""Cross-entropy."""


def take_loss(overrides: Mapping[str, Any]) -> tuple[OriginalLoss, dict[str, Any]]:
    """Takes what is said of the loss out of settings by name.

    Args:
        overrides: Settings; those that begin with `loss.` are its own.

    Returns:
        The loss, and the other settings.

    Example:
        >>> take_loss({"loss.label_smoothing": "0.1", "steps": "3"})[1]
        {'steps': '3'}
    """
    own = {name.removeprefix("loss."): value for name, value in overrides.items() if name.startswith("loss.")}
    rest = {name: value for name, value in overrides.items() if not name.startswith("loss.")}
    return OriginalLoss.parse("loss", own), rest


def _stated(loss: OriginalLoss, closed: bool) -> keras.losses.Loss:
    import keras
    from keras import ops

    def rows(labels: Any, scores: Any) -> Any:
        labels = ops.cast(ops.reshape(labels, (-1,)), "int32")
        scores = ops.cast(scores, "float32") if keras.backend.standardize_dtype(scores.dtype) != "float64" else scores
        logs = ops.log(ops.maximum(scores, 1e-37)) if closed else ops.log_softmax(scores, axis=-1)
        share, classes = loss.label_smoothing, logs.shape[-1]
        targets = (1 - share) * ops.one_hot(labels, classes, dtype=logs.dtype) + share / classes
        found = -ops.sum(targets * logs, axis=-1)
        if loss.class_weights is not None:
            found = found * ops.take(ops.cast(ops.convert_to_tensor(loss.class_weights), found.dtype), labels)
        return found

    class Stated(keras.losses.Loss):
        def call(self, y_true: Any, y_pred: Any) -> Any:
            return rows(y_true, y_pred)

    return Stated(name="stated_loss")
