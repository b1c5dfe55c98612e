"""Which weights matter to which rows: the diagonal of the empirical Fisher matrix.

    F = mean over rows of (d loss(row) / d theta)^2      (given labels)

Per-example gradients are formed for a few rows at a time and squared and summed at once.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from unlearning.influence.head import Head
from unlearning.influence.rows import RowStore
from unlearning.influence.settings import Squares
from unlearning.progress import progress_bar


class SquaredGradients:
    """Means of squared loss gradients over rows, without holding more than one batch of gradients.

    Args:
        head: The differentiated part of the model.
        store: Its inputs.
        labels: int64 array, one label a row of `store`.
        batch_rows: Rows a batch.
        squares: `"examples"` averages squared gradients of rows, `"batches"` squares those of batches.
    """

    def __init__(
        self, head: Head, store: RowStore, labels: np.ndarray, batch_rows: int = 16, squares: Squares = "examples"
    ) -> None:
        self._head, self._store, self._labels = head, store, tf.constant(labels)
        self._batch_rows, self._squares = batch_rows, squares
        self._parameters = head.parameters()
        self._compiled = tf.function(self._per_example if squares == "examples" else self._per_batch, autograph=False)

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

        batch = (self._store.fetch(rows), tf.gather(self._labels, rows))
        try:
            gradients = tf.vectorized_map(gradient, batch)
        except (AttributeError, LookupError, NotImplementedError, TypeError, ValueError):
            # Gradients of loops (recurrent layers) cannot be vectorised. What is wrong with the model itself, the other
            # way meets again.
            gradients = tf.map_fn(
                gradient, batch, fn_output_signature=[tf.TensorSpec(t.shape, t.dtype) for t in tensors]
            )
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
        gradients = tape.gradient(loss, tensors, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return [tf.convert_to_tensor(gradient) for gradient in gradients]  # that of embeddings comes as some rows
