"""Training steps on class weights, with the pull towards the centroids of the classes: one trace for many trainings.

    loss = -(1/B) sum_i sum_k w_ik log p_ik - pull (1/B) sum_i sum_k w_ik cos(f_i, mu_k)

`w_i` is the label of row `i` as class weights: one-hot where it is known, a probability over classes where it is not.
`f_i` is what the last dense layer gets; without such a layer there is no pull. `mu` are the class centroids of the good
rows under the weights that a training begins with (see `unlearning.centroids.losses`).

Keras compiles the training step of a model for every `fit` that changes its loss. Short trainings, of which there are
many here, would spend more on that than on the steps; so the pull is a number that may change, and the step stays.

Example:
    >>> steps = CentroidSteps(model, num_classes=3, closed=False)
    >>> steps.start(pull=5.0)
    >>> steps.measure([(x, np.eye(3, dtype="float32")[y])])
    >>> steps.step(x, np.eye(3, dtype="float32")[y], rate=1e-3)
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from unlearning.centroids import losses
from unlearning.centroids.wrapping import feature_layer
from unlearning.errors import InputError
from unlearning.interop import inference_arguments, observing, read_logits


class CentroidSteps:
    """Steps of Adam on a model; the model is changed in place.

    Args:
        model: A built model, or a part of one that takes activations.
        num_classes: `K`.
        closed: Whether its outputs are probabilities.

    Attributes:
        can_pull: Whether it has features that may be pulled.
    """

    def __init__(self, model: keras.Model, num_classes: int, *, closed: bool) -> None:
        self._model, self._num_classes, self._closed = model, num_classes, closed
        try:
            self._head: keras.layers.Layer | None = feature_layer(model, None)
        except InputError:
            self._head = None
        self.can_pull = self._head is not None
        self._optimizer = keras.optimizers.Adam()
        if keras.mixed_precision.dtype_policy().name == "mixed_float16":
            self._optimizer = keras.optimizers.LossScaleOptimizer(self._optimizer)
        self._optimizer.build(model.trainable_variables)
        self._fresh = [v.numpy() for v in self._optimizer.variables]
        self._pull = tf.Variable(0.0, trainable=False)
        self._centroids: tf.Variable | None = None
        self._step = tf.function(self._traced_step, reduce_retracing=True, autograph=False)
        self._sums = tf.function(self._traced_sums, reduce_retracing=True, autograph=False)

    def start(self, pull: float = 0.0) -> None:
        """Begins a training: forgets the optimizer's moments.

        Args:
            pull: Weight of the pull; 0 where the model has no features.
        """
        for variable, value in zip(self._optimizer.variables, self._fresh, strict=True):
            variable.assign(value)
        self._pull.assign(pull if self.can_pull else 0.0)

    def measure(self, batches: Iterable[tuple[Any, Any]]) -> None:
        """Sets the centroids to those of rows under the present weights.

        Args:
            batches: Rows, and their class weights `(B, K)`.
        """
        if self._head is None:
            return
        total: Any = 0.0
        for rows, weights in batches:
            total += self._sums(tf.convert_to_tensor(rows), tf.convert_to_tensor(weights))
        found = tf.math.l2_normalize(total, axis=-1)
        if self._centroids is None:
            self._centroids = tf.Variable(found, trainable=False)
        else:
            self._centroids.assign(found)

    def step(self, rows: np.ndarray, weights: np.ndarray, rate: float) -> None:
        """Makes a step.

        Args:
            rows: What the model takes, `(B, ...)`.
            weights: Class weights `(B, K)`, float32.
            rate: The learning rate.
        """
        self._optimizer.learning_rate = rate
        pulled = self._centroids is not None and bool(self._pull.numpy())
        self._step(tf.convert_to_tensor(rows), tf.convert_to_tensor(weights), pulled)

    def _call(self, rows: tf.Tensor, training: bool) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Scores, and the features that led to them; runs while a step is traced."""
        taken: list[Any] = []

        def wrap(_: keras.layers.Layer, call: Any) -> Any:
            def recorded(*args: Any, **kwargs: Any) -> Any:
                taken.append(args[0] if args else kwargs["inputs"])
                return call(*args, **kwargs)

            return recorded

        arguments = dict.fromkeys(inference_arguments(self._model), training)
        with observing([] if self._head is None else [self._head], wrap):
            scores = self._model(rows, **arguments)
        return scores, losses.flat(taken[-1]) if taken else None

    def _traced_step(self, rows: tf.Tensor, weights: tf.Tensor, pulled: bool) -> None:
        variables = self._model.trainable_variables
        with tf.GradientTape() as tape:
            scores, features = self._call(rows, training=True)
            logits = losses.precise(read_logits(scores, self._closed))
            logs = tf.nn.log_softmax(logits)  # weights need not sum to one, as TensorFlow's own cross-entropy asks
            loss = -tf.reduce_mean(tf.reduce_sum(tf.cast(weights, logs.dtype) * logs, axis=-1))
            if pulled:
                aligned = losses.alignment(losses.cosines(features, self._centroids), weights)
                loss -= tf.cast(self._pull, loss.dtype) * tf.cast(aligned, loss.dtype)
            loss += sum(tf.cast(own, loss.dtype) for own in self._model.losses)  # weight decay of the layers
            scaled = self._optimizer.scale_loss(loss)
        self._optimizer.apply(tape.gradient(scaled, [v.value for v in variables]), variables)

    def _traced_sums(self, rows: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        _, features = self._call(rows, training=False)
        assert features is not None
        return losses.centroid_sums(features, weights)
