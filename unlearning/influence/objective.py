"""Sums over rows of a head's loss, its gradient, and its curvature times a vector, in compiled loops.

The objective is `J(theta) = (1/N) sum_i w_i CE(f(x_i; theta), y_i) + penalty(theta)`, with the cross-entropy on logits.
Its curvature is either the Hessian or the generalised Gauss-Newton matrix
`G = (1/N) sum_i w_i J_i^T (diag(p_i) - p_i p_i^T) J_i` (Schraudolph, Neural Computation 14, 2002), which equals the
Hessian for a linear head and is positive semi-definite for every head.

A model that has memorised its rows answers with `p_i` almost one-hot, where the middle factor vanishes: the quadratic
model then says that nothing resists a change, and its steps wreck what should stay. `smoothing` mixes the uniform
distribution into `p_i` of that factor. Fully mixed it is, up to its scale, Boehning's bound on the curvature (Annals of
the Institute of Statistical Mathematics 44, 1992), `(I - 11^T / K) / 2` in place of the middle factor: the curvature
`"bound"`, which no `p_i` exceeds, so that a step of length one cannot run away.

Neither matrix is formed. The Hessian product is reverse over reverse (Pearlmutter, Neural Computation 6, 1994); the
Gauss-Newton product is a forward-mode pass to logits, the softmax curvature, and a reverse pass back. TensorFlow has no
forward mode through loops (recurrent layers): there the gradient of a reverse pass, which is linear in what is passed
back, gives the same.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from unlearning.influence.head import Head
from unlearning.influence.rows import RowStore
from unlearning.influence.settings import Curvature
from unlearning.progress import pulse


class Objective:
    """A weighted mean cross-entropy over chosen rows of a table, as a function of the head's flat parameters.

    Args:
        head: The head.
        store: The table of its inputs.
        rows: int64 array `(n,)` of row numbers into the table.
        labels: int64 array `(n,)`.
        weights: Array `(n,)`; a removed row has weight 0, the subtracted half of a gradient difference -1.
        normaliser: The `N` by which sums are divided.
        batch_rows: Rows a pass; results do not depend on it beyond rounding.
        penalised: Whether the model's own weight penalties are part of the objective.
        smoothing: Share of the uniform distribution in the probabilities of the Gauss-Newton matrix, in [0, 1].
        label_smoothing: Share of the uniform distribution in the labels; see `unlearning.loss`.
    """

    def __init__(
        self,
        head: Head,
        store: RowStore,
        rows: np.ndarray,
        labels: np.ndarray,
        weights: np.ndarray | None = None,
        *,
        normaliser: float | None = None,
        batch_rows: int = 1024,
        penalised: bool = True,
        smoothing: float = 0.0,
        label_smoothing: float = 0.0,
    ) -> None:
        self.head = head
        self.rows = len(rows)
        self._store = store
        self._index = tf.constant(np.asarray(rows, dtype=np.int64))
        self._labels = tf.constant(np.asarray(labels, dtype=np.int64))
        self._weights = tf.constant(np.ones(len(rows)) if weights is None else weights, dtype=head.dtype)
        self._scale = tf.constant(1.0 / (normaliser or len(rows)), dtype=head.dtype)
        self._batch_rows = batch_rows
        self._penalised = penalised and head.is_regularised
        self._smoothing, self._label_smoothing = smoothing, label_smoothing
        self._loops = False  # whether forward mode has met one
        self.loss: Callable[[tf.Tensor], tf.Tensor] = tf.function(self._loss, autograph=False)
        """Compiled: parameters `(size,)` to the scalar objective."""
        self.gradient: Callable[[tf.Tensor], tf.Tensor] = tf.function(self._gradient, autograph=False)
        """Compiled: parameters `(size,)` to the gradient `(size,)`."""
        self.predictions: Callable[[tf.Tensor], tf.Tensor] = tf.function(self._predictions, autograph=False)
        """Compiled: parameters `(size,)` to the int64 predicted class of every row, `(n,)`."""

    def product(self, curvature: Curvature) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
        """Returns the curvature-vector product as a graph function of `(parameters, vector)`, both of shape `(size,)`.

        It is not compiled here, so that a solver can put it inside its own compiled loop; wrap it in `tf.function` to
        use it alone.
        """
        body = self._hessian_batch if curvature == "hessian" else functools.partial(self._squared_batch, curvature)

        def product(parameters: tf.Tensor, vector: tf.Tensor) -> tf.Tensor:
            tensors, directions = self.head.unflatten(parameters), self.head.unflatten(vector)
            total = self._accumulate(lambda *batch: body(tensors, directions, *batch), tensors)
            return self._scale * total + self._penalty_product(tensors, directions)

        return product

    def batch_hessian_product(self, parameters: tf.Tensor, vector: tf.Tensor, positions: tf.Tensor) -> tf.Tensor:
        """Returns the Hessian of the *summed* loss of a few rows times a vector; what stochastic solvers sample.

        Args:
            parameters: Shape `(size,)`.
            vector: Shape `(size,)`.
            positions: int64 positions into this objective's rows, shape `(batch,)`.

        Returns:
            Tensor of shape `(size,)`.
        """
        batch = (self._store.fetch(tf.gather(self._index, positions)), tf.gather(self._labels, positions))
        weights = tf.gather(self._weights, positions)
        tensors, directions = self.head.unflatten(parameters), self.head.unflatten(vector)
        return self.head.flatten(self._hessian_batch(tensors, directions, *batch, weights))

    def _loss(self, parameters: tf.Tensor) -> tf.Tensor:
        tensors = self.head.unflatten(parameters)

        def body(start: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            inputs, labels, weights = self._batch(start)
            return start + self._batch_rows, total + self._batch_loss(tensors, inputs, labels, weights)

        _, total = self._loop(body, tf.zeros([], self.head.dtype))
        return self._scale * total + (self.head.regularisation(tensors) if self._penalised else 0)

    def _gradient(self, parameters: tf.Tensor) -> tf.Tensor:
        tensors = self.head.unflatten(parameters)

        def body(inputs: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor) -> list[tf.Tensor]:
            with tf.GradientTape() as tape:
                tape.watch(tensors)
                loss = self._batch_loss(tensors, inputs, labels, weights)
            return tape.gradient(loss, tensors, unconnected_gradients=tf.UnconnectedGradients.ZERO)

        total = self._scale * self._accumulate(body, tensors)
        if self._penalised:
            with tf.GradientTape() as tape:
                tape.watch(tensors)
                penalty = self.head.regularisation(tensors)
            total += self.head.flatten(
                tape.gradient(penalty, tensors, unconnected_gradients=tf.UnconnectedGradients.ZERO)
            )
        return total

    def _predictions(self, parameters: tf.Tensor) -> tf.Tensor:
        tensors = self.head.unflatten(parameters)
        batches = (self.rows + self._batch_rows - 1) // self._batch_rows
        # One output a batch; the last one may be shorter, which `concat` allows.
        outputs = tf.TensorArray(tf.int64, size=batches, element_shape=[None], infer_shape=False)

        def body(start: tf.Tensor, array: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
            inputs, _, _ = self._batch(start)
            classes = tf.argmax(self.head.logits(tensors, inputs), axis=-1)
            return start + self._batch_rows, array.write(tf.cast(start // self._batch_rows, tf.int32), classes)

        _, outputs = self._loop(body, outputs)
        return outputs.concat()

    def _batch_loss(
        self, tensors: list[tf.Tensor], inputs: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor
    ) -> tf.Tensor:
        logits = self.head.logits(tensors, inputs)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        if self._label_smoothing:
            uniform = tf.reduce_logsumexp(logits, axis=-1) - tf.reduce_mean(logits, axis=-1)
            losses += self._label_smoothing * (uniform - losses)
        return tf.reduce_sum(weights * losses)

    def _squared_batch(
        self,
        curvature: Curvature,
        tensors: list[tf.Tensor],
        directions: list[tf.Tensor],
        inputs: tf.Tensor,
        labels: tf.Tensor,
        weights: tf.Tensor,
    ) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            logits, change = self._push_forward(tensors, directions, inputs)
        if curvature == "bound":
            cotangent = 0.5 * weights[:, tf.newaxis] * (change - tf.reduce_mean(change, axis=-1, keepdims=True))
        else:
            probabilities = self.smoothed(logits)
            inner = tf.reduce_sum(probabilities * change, axis=-1, keepdims=True)
            cotangent = weights[:, tf.newaxis] * probabilities * (change - inner)
        return tape.gradient(
            logits, tensors, output_gradients=cotangent, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )

    def smoothed(self, logits: tf.Tensor) -> tf.Tensor:
        """Returns the probabilities that the Gauss-Newton matrix is built from, shape `(rows, classes)`."""
        probabilities = tf.nn.softmax(logits)
        return probabilities + self._smoothing * (1.0 / probabilities.shape[-1] - probabilities)

    def _push_forward(
        self, tensors: list[tf.Tensor], directions: list[tf.Tensor], inputs: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the logits, and their derivative along the directions; both of shape `(rows, classes)`."""
        if not self._loops:
            try:
                with tf.autodiff.ForwardAccumulator(tensors, directions) as forward:
                    logits = self.head.logits(tensors, inputs)
                return logits, forward.jvp(logits)
            except (AttributeError, LookupError, NotImplementedError, TypeError, ValueError):
                self._loops = True  # what is wrong with the model itself, the other way meets again
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                inner.watch(tensors)
                logits = self.head.logits(tensors, inputs)
            back = tf.zeros_like(logits)
            outer.watch(back)
            pulled = inner.gradient(
                logits, tensors, output_gradients=back, unconnected_gradients=tf.UnconnectedGradients.ZERO
            )
            pulled = _dense(pulled)
        return logits, outer.gradient(
            pulled, back, output_gradients=directions, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )

    def _hessian_batch(
        self,
        tensors: list[tf.Tensor],
        directions: list[tf.Tensor],
        inputs: tf.Tensor,
        labels: tf.Tensor,
        weights: tf.Tensor,
    ) -> list[tf.Tensor]:
        with tf.GradientTape() as outer:
            outer.watch(tensors)
            with tf.GradientTape() as inner:
                inner.watch(tensors)
                loss = self._batch_loss(tensors, inputs, labels, weights)
            gradients = _dense(inner.gradient(loss, tensors, unconnected_gradients=tf.UnconnectedGradients.ZERO))
        return outer.gradient(
            gradients,
            tensors,
            output_gradients=directions,
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )

    def _penalty_product(self, tensors: list[tf.Tensor], directions: list[tf.Tensor]) -> tf.Tensor:
        if not self._penalised:
            return tf.zeros([], self.head.dtype)
        with tf.GradientTape() as outer:
            outer.watch(tensors)
            with tf.GradientTape() as inner:
                inner.watch(tensors)
                penalty = self.head.regularisation(tensors)
            gradients = inner.gradient(penalty, tensors, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return self.head.flatten(
            outer.gradient(
                gradients,
                tensors,
                output_gradients=directions,
                unconnected_gradients=tf.UnconnectedGradients.ZERO,
            )
        )

    def sums(
        self, body: Callable[[tf.Tensor, tf.Tensor, tf.Tensor], list[tf.Tensor]], zeros: list[tf.Tensor]
    ) -> list[tf.Tensor]:
        """Returns sums of `body(inputs, labels, weights)` over the batches; `zeros` are shaped like what it returns."""

        def step(start: tf.Tensor, total: list[tf.Tensor]) -> tuple[tf.Tensor, list[tf.Tensor]]:
            return start + self._batch_rows, [t + p for t, p in zip(total, body(*self._batch(start)), strict=True)]

        return self._loop(step, zeros)[1]

    def _accumulate(
        self, body: Callable[[tf.Tensor, tf.Tensor, tf.Tensor], list[tf.Tensor]], like: list[tf.Tensor]
    ) -> tf.Tensor:
        """Sums `body(inputs, labels, weights)` over the batches and flattens the result."""
        return self.head.flatten(self.sums(body, [tf.zeros_like(t) for t in like]))

    def _batch(self, start: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        part = slice(
            start, start + self._batch_rows
        )  # a slice past the end is cut short: the last batch may be smaller
        return self._store.fetch(self._index[part]), self._labels[part], self._weights[part]

    def _loop(self, body, state):  # type: ignore[no-untyped-def]
        def lively(start, total):  # type: ignore[no-untyped-def]
            with tf.control_dependencies([tf.py_function(pulse, [], [])]):
                return body(tf.identity(start), total)

        # One batch in flight: parallel iterations would keep several batches of activations in memory for no speed.
        return tf.while_loop(
            lambda start, _: start < self.rows,
            lively,
            (tf.constant(0, dtype=tf.int64), state),
            parallel_iterations=1,
        )


def _dense(gradients: list[tf.Tensor]) -> list[tf.Tensor]:
    """Returns gradients as tensors; that of a table of embeddings comes as some of its rows."""
    return [tf.convert_to_tensor(gradient) for gradient in gradients]
