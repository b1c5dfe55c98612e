"""Selective synaptic dampening: weights that matter far more to flagged rows than to all rows are made smaller.

    F_f, F_D = mean over the flagged / all training rows of (d loss(row) / d theta)^2      (given labels)
    theta <- theta * min(lambda F_D / F_f, 1)      where      F_f > alpha F_D

Foster, Schoepf and Brintrup, AAAI 2024, with `alpha = 10` and `lambda = 1`. Nothing is trained, and corrected labels
are not looked at. Differences from the published code:

1. It squares the gradient of a *batch's* mean loss and averages that over batches (of 64 or so). The diagonal of the
   Fisher matrix is the mean over rows of each row's squared gradient, which is what is computed here;
   `squares="batches"` is the published estimate.
2. `alpha` is chosen on validation rows. The flagged rows are among all rows, so that `F_f / F_D` is at most the number
   of training rows over that of flagged ones: with a fifth of the rows flagged nothing ever exceeds 5, and `alpha = 10`
   does nothing. Where wrong labels are memorised many weights crowd just below that bound. `shares` therefore adds
   those `alpha` to the grid at which given shares of the weights are dampened.

Per-example gradients are formed for `batch_rows` rows at a time and squared and summed at once.

Example:
    >>> from unlearning.methods.ssd import Ssd
    >>> outcome = Ssd(alphas=(10, 3, 1)).unlearn(model, task)  # doctest: +SKIP
"""

from __future__ import annotations

import dataclasses
import time
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from unlearning.errors import invalid
from unlearning.evaluation import accuracy
from unlearning.influence.head import Head
from unlearning.influence.objective import Objective
from unlearning.influence.rows import RowStore
from unlearning.methods.base import Method, conclude
from unlearning.progress import progress_bar
from unlearning.task import OutcomeStatus, UnlearningOutcome, UnlearningTask, WorkCount

Squares = Literal["examples", "batches"]


@dataclasses.dataclass(frozen=True)
class Ssd(Method):
    """Selective synaptic dampening.

    Attributes:
        alphas: Selection weightings to be tried: a weight is dampened where its forget importance exceeds `alpha` times
            its full one. Below `dampening_constant` nothing changes any more.
        shares: Shares of the weights, each of which adds the `alpha` at which it is dampened.
        dampening_constant: The `lambda`; smaller dampens more.
        squares: `"examples"` averages squared gradients of rows, `"batches"` squares those of batches, as published.
        trainable_from: First layer whose weights may be dampened, `"all"`, or null for the dense head.
        batch_rows: Rows whose gradients are held at a time, or rows of a batch.
    """

    alphas: tuple[float, ...] = (100.0, 30.0, 10.0, 5.0, 3.0, 2.0, 1.0)
    shares: tuple[float, ...] = (1e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.2, 0.4)
    dampening_constant: float = 1.0
    squares: Squares = "examples"
    trainable_from: str | None = "all"
    batch_rows: int = 16

    def __post_init__(self) -> None:
        if not all(alpha > 0 for alpha in self.alphas) or not (self.alphas or self.shares):
            raise invalid("alphas", "positive floats, at least one where there are no shares", self.alphas)
        if not all(0 < share < 1 for share in self.shares):
            raise invalid("shares", "floats in (0, 1)", self.shares)
        if not self.dampening_constant > 0:
            raise invalid("dampening_constant", "a positive float", self.dampening_constant)
        if self.squares not in ("examples", "batches"):
            raise invalid("squares", "one of examples, batches", self.squares)
        if self.batch_rows < 1:
            raise invalid("batch_rows", "a positive integer", self.batch_rows)

    def unlearn(self, model: keras.Model, task: UnlearningTask) -> UnlearningOutcome:
        """See `Method.unlearn`."""
        started = time.perf_counter()
        head = Head(model, self.trainable_from)
        head.check(task.train.images, task.num_classes)
        work = WorkCount()
        if not len(task.corrections):
            return conclude(model, None, task, started=started, work=work, status=OutcomeStatus.NOTHING_FLAGGED)
        forget, full, work = self._importances(head, task)
        if not (np.isfinite(forget).all() and np.isfinite(full).all()):
            before = accuracy(model, task.validation)
            return conclude(
                model,
                None,
                task,
                started=started,
                work=work + WorkCount(forward_rows=len(task.validation)),
                history=[{"step": 0, "validation_accuracy": before, "seconds": time.perf_counter() - started}],
                status=OutcomeStatus.NON_FINITE,
                scores=(before, before),
            )
        validation = Objective(
            head,
            RowStore.from_images(head, [task.validation.images], description="features of the validation rows"),
            np.arange(len(task.validation)),
            task.validation.labels,
            batch_rows=512,
        )
        initial = best = head.parameters()
        history: list[dict[str, Any]] = []
        chosen, best_score = None, -1.0
        ratios = np.divide(forget, full, out=np.zeros_like(full), where=full > 0)
        grid = {*self.alphas, *(float(np.quantile(ratios, 1 - share)) for share in self.shares)}
        for alpha in (None, *sorted(grid, reverse=True)):  # a tie goes to what changes least
            row: dict[str, Any] = {"step": len(history)}
            parameters = initial
            if alpha is not None:
                factors = dampening(forget, full, alpha, self.dampening_constant)
                parameters = initial * tf.constant(factors, head.dtype)
                row |= {"alpha": alpha, "dampened": float(np.mean(factors < 1))}
            score = float(np.mean(validation.predictions(parameters).numpy() == task.validation.labels))
            work += WorkCount(forward_rows=len(task.validation))
            history.append({**row, "validation_accuracy": score, "seconds": time.perf_counter() - started})
            if score > best_score:
                chosen, best, best_score = alpha, parameters, score
        return conclude(
            model,
            None if chosen is None else head.repaired(best),
            task,
            started=started,
            work=work,
            history=history,
            details={
                "alpha": chosen,
                "parameters": head.size,
                "largest_ratio": float(ratios.max()),
            },
        )

    def _importances(self, head: Head, task: UnlearningTask) -> tuple[np.ndarray, np.ndarray, WorkCount]:
        """Returns the importances to the flagged and to all rows, shape `(size,)`, and the work."""
        images, labels, flagged = task.train.images, task.train.labels, np.sort(task.corrections.rows)
        total = len(labels)
        store = RowStore.from_images(head, [images], description="features of the training rows")
        work = WorkCount(forward_rows=total if head.is_cached else 0)
        squares = SquaredGradients(head, store, labels, self.batch_rows, self.squares)
        forget = squares.mean(flagged)
        if self.squares == "batches":
            order = np.random.default_rng(task.seed).permutation(total)
            return forget, squares.mean(order), work + WorkCount(gradient_rows=total + len(flagged))
        others = np.setdiff1d(np.arange(total), flagged)
        rest = squares.mean(others) if len(others) else np.zeros_like(forget)
        full = (len(flagged) * forget + len(others) * rest) / total
        return forget, full, work + WorkCount(gradient_rows=total)


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


class SquaredGradients:
    """Means of squared loss gradients over rows, without holding more than one batch of gradients.

    Args:
        head: The differentiated part of the model.
        store: Its inputs.
        labels: int64 array, one label a row of `store`.
        batch_rows: Rows a batch.
        squares: `"examples"` or `"batches"`; see `Ssd`.
    """

    def __init__(
        self, head: Head, store: RowStore, labels: np.ndarray, batch_rows: int = 16, squares: Squares = "examples"
    ) -> None:
        self._head, self._store, self._labels = head, store, tf.constant(labels)
        self._batch_rows, self._squares = batch_rows, squares
        self._parameters = head.parameters()
        self._compiled = tf.function(self._per_example if squares == "examples" else self._per_batch)

    def mean(self, rows: np.ndarray) -> np.ndarray:
        """Returns the mean over some rows (or over batches of them, in the order given).

        Args:
            rows: int64 array of row numbers, at least one.

        Returns:
            float64 array of shape `(size,)`.
        """
        size = self._batch_rows
        total, batches = np.zeros(self._head.size), range(0, len(rows), size)
        for start in progress_bar(batches, description="squared gradients", unit="batch"):
            batch = rows[start : start + size]
            # The last batch is filled up with rows of weight 0: one shape, compiled once.
            weights = np.zeros(size)
            weights[: len(batch)] = 1.0
            batch = np.concatenate([batch, np.repeat(batch[-1:], size - len(batch))])
            total += self._compiled(tf.constant(batch), tf.constant(weights, self._head.dtype)).numpy()
        return total / (len(rows) if self._squares == "examples" else len(batches))

    def _per_example(self, rows: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        tensors = self._head.unflatten(self._parameters)

        def gradient(row: tuple[tf.Tensor, tf.Tensor]) -> list[tf.Tensor]:
            image, label = row
            return self._gradient(tensors, image[tf.newaxis], label[tf.newaxis], tf.ones([1], self._head.dtype))

        gradients = tf.vectorized_map(gradient, (self._store.fetch(rows), tf.gather(self._labels, rows)))
        return self._head.flatten([tf.tensordot(weights, tf.square(g), axes=1) for g in gradients])

    def _per_batch(self, rows: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        tensors = self._head.unflatten(self._parameters)
        inputs, labels = self._store.fetch(rows), tf.gather(self._labels, rows)
        gradients = self._gradient(tensors, inputs, labels, weights / tf.reduce_sum(weights))
        return tf.square(self._head.flatten(gradients))

    def _gradient(
        self, tensors: list[tf.Tensor], inputs: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor
    ) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, self._head.logits(tensors, inputs))
            loss = tf.reduce_sum(weights * losses)
        return tape.gradient(loss, tensors, unconnected_gradients=tf.UnconnectedGradients.ZERO)
