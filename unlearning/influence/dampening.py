"""Weights that matter far more to flagged rows than to all rows, made smaller, and what that does on validation.

    F_f, F_D = mean over the flagged / all training rows of (d loss(row) / d theta)^2      (given labels)
    theta <- theta * min(lambda F_D / F_f, 1)      where      F_f > alpha F_D

See `unlearning.methods.ssd`.
"""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from unlearning.influence.head import Head
from unlearning.influence.objective import Objective
from unlearning.influence.rows import RowStore
from unlearning.influence.settings import Squares
from unlearning.influence.squares import SquaredGradients
from unlearning.streams import stream
from unlearning.task import UnlearningTask, WorkCount


def dampening(forget: np.ndarray, full: np.ndarray, alpha: float, constant: float = 1.0) -> np.ndarray:
    """Returns the factor of every weight.

    Args:
        forget: Importances to the flagged rows, shape `(size,)`, at least 0.
        full: Importances to all rows, shape `(size,)`, at least 0.
        alpha: Selection weighting.
        constant: The `lambda`.

    Returns:
        float64 array of shape `(size,)`: `min(lambda full / forget, 1)` where `forget > alpha full`, and 1 elsewhere.
    """
    selected = forget > alpha * full
    ratio = np.divide(constant * full, forget, out=np.ones_like(full), where=selected)
    return np.minimum(ratio, 1.0)


class Dampening:
    """A model whose weights can be multiplied by factors and scored.

    Args:
        model: The trained model; never changed.
        task: What to unlearn.
        trainable_from: See `Head`.

    Attributes:
        head: The part whose weights may be dampened.

    Raises:
        InputError: If model and task do not fit each other.
    """

    def __init__(self, model: keras.Model, task: UnlearningTask, trainable_from: str | None) -> None:
        self._task = task
        self.head = Head(model, trainable_from)
        self.head.check(task.train.images, task.num_classes)
        self._initial = self.head.parameters()
        self._validation: Objective | None = None

    def importances(self, batch_rows: int, squares: Squares) -> tuple[np.ndarray, np.ndarray, WorkCount]:
        """Returns the importances to the flagged and to all rows, shape `(size,)`, and the work.

        Args:
            batch_rows: See `SquaredGradients`.
            squares: See `SquaredGradients`.
        """
        task = self._task
        labels, flagged = task.train.labels, np.sort(task.corrections.rows)
        total = len(labels)
        store = RowStore.from_images(self.head, [task.train.images], description="features of the training rows")
        work = WorkCount(forward_rows=total if self.head.is_cached else 0)
        gradients = SquaredGradients(self.head, store, labels, batch_rows, squares)
        forget = gradients.mean(flagged)
        if squares == "batches":
            order = stream(task.seed, "method", "batches").permutation(total)
            return forget, gradients.mean(order), work + WorkCount(gradient_rows=total + len(flagged))
        others = np.setdiff1d(np.arange(total), flagged)
        rest = gradients.mean(others) if len(others) else np.zeros_like(forget)
        full = (len(flagged) * forget + len(others) * rest) / total
        return forget, full, work + WorkCount(gradient_rows=total)

    def score(self, factors: np.ndarray | None) -> float:
        """Returns the accuracy on the rows that choose, with all weights multiplied or (None) as they are."""
        validation = self._task.choosing
        if self._validation is None:
            store = RowStore.from_images(self.head, [validation.images], description="features of the validation rows")
            self._validation = Objective(
                self.head, store, np.arange(len(validation)), validation.labels, batch_rows=512
            )
        return float(np.mean(self._validation.predictions(self._times(factors)).numpy() == validation.labels))

    def repaired(self, factors: np.ndarray) -> keras.Model:
        """Returns a fresh copy of the model with its weights multiplied."""
        return self.head.repaired(self._times(factors))

    def _times(self, factors: np.ndarray | None) -> tf.Tensor:
        return self._initial if factors is None else self._initial * tf.constant(factors, self.head.dtype)
