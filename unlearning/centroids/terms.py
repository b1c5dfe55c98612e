"""The terms of feature-space unlearning on a model: centroids, the loss of a retain step, and the forget step.

The features are what the model's last dense layer gets, seen by wrapping its `call`, so that they come out of the one
forward pass that training makes anyway. The teacher (the model as it was) is a copy of the weights, not a second model;
it runs statelessly in inference mode, and is kept only where a term asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import keras
import tensorflow as tf

from unlearning.centroids import losses
from unlearning.centroids.settings import CentroidSettings
from unlearning.errors import InputError
from unlearning.interop import inference_arguments, read_logits
from unlearning.progress import pulse


class Terms:
    """What a model is trained on while it unlearns.

    Args:
        model: A built and compiled model.
        settings: Factors and forms of the terms.
        num_classes: Number of the model's classes.
        closed: Whether the model's outputs are probabilities.

    Attributes:
        centroids: Variable of shape `(K, D)`, once they are measured.
        traced: Whether a retain step has been traced.
    """

    def __init__(self, model: keras.Model, settings: CentroidSettings, num_classes: int, *, closed: bool) -> None:
        self._model, self._settings, self._factors = model, settings, settings.factors()
        self._num_classes, self._closed = num_classes, closed
        self._features: tf.Tensor | None = None
        self.centroids: tf.Variable
        self.traced = False
        self._teacher: tuple[list[tf.Tensor], list[tf.Tensor]] | None = None
        if self.forgets or self._factors.retain_kl:
            self._teacher = (
                [tf.identity(v.value) for v in model.trainable_variables],
                [tf.identity(v.value) for v in model.non_trainable_variables],
            )
        self.forget = tf.function(self._forget, reduce_retracing=True, autograph=False)

    @property
    def forgets(self) -> bool:
        """Whether there are terms for rows to forget."""
        return self._factors.forget_kl > 0 or self._factors.forget_push > 0

    def record(self, _: keras.layers.Layer, call: Callable) -> Callable:
        """Wraps the `call` of the layer whose inputs are the features; see `interop.observing`."""

        def recorded(*args: Any, **kwargs: Any) -> Any:
            self._features = args[0] if args else kwargs["inputs"]
            return call(*args, **kwargs)

        return recorded

    def drop(self) -> None:
        """Lets go of the features of the last forward pass."""
        self._features = None

    def measure(self, batches: Iterable[tuple[Any, Any]]) -> None:
        """Sets the centroids to those of rows under the present weights; no state of the model changes.

        Args:
            batches: Images and labels.
        """
        model, settings = self._model, self._settings
        training = dict.fromkeys(inference_arguments(model), settings.view == "training")

        @tf.function(reduce_retracing=True, autograph=False)
        def sums(images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
            now = [v.value for v in model.trainable_variables], [v.value for v in model.non_trainable_variables]
            scores, _ = model.stateless_call(*now, images, **training)
            if settings.centroids == "hard":
                weights = losses.class_weights(labels, self._num_classes)
            else:
                weights = tf.nn.softmax(read_logits(scores, self._closed))
            return losses.centroid_sums(self._taken(), weights)

        total: Any = 0.0
        for images, labels in batches:
            pulse()
            total += sums(images, labels)
        found = tf.math.l2_normalize(total, axis=-1)
        if not hasattr(self, "centroids"):
            self.centroids = tf.Variable(found, trainable=False)
            self._rows = tf.Variable(0.0, trainable=False)
            self._aligned = tf.Variable(0.0, trainable=False, dtype=found.dtype)
        else:
            self.centroids.assign(found)

    def start_epoch(self) -> None:
        """Forgets the counts of `retained` and `alignment`."""
        self._rows.assign(0.0)
        self._aligned.assign(0.0)

    @property
    def retained(self) -> float:
        """Rows of the retain steps of this epoch."""
        return float(self._rows.numpy())

    @property
    def alignment(self) -> float:
        """The mean cosine between feature and centroid in the retain steps of this epoch."""
        return float(self._aligned.numpy()) / max(self.retained, 1.0)

    def retain(self, loss: tf.Tensor, x: Any, y: Any, scores: tf.Tensor, row_weights: Any) -> tf.Tensor:
        """Returns the loss of a retain step; runs inside the model's own training step (see `wrap_loss`)."""
        self.traced = True
        cosine = losses.cosines(self._taken(), self.centroids)
        given = losses.class_weights(y, self._num_classes)
        aligned = losses.alignment(cosine, given, row_weights)
        divergence: tf.Tensor | float = 0.0
        if self._factors.retain_kl:
            student = read_logits(scores, self._closed)
            divergence = tf.cast(self._divergence(x, student)[0], aligned.dtype)
        rows = tf.shape(cosine)[0]
        self._rows.assign_add(tf.cast(rows, self._rows.dtype))
        logged = tf.stop_gradient(losses.alignment(cosine, given)) * tf.cast(rows, cosine.dtype)
        self._aligned.assign_add(tf.cast(logged, self._aligned.dtype))
        factors = self._factors
        return losses.retain_loss(
            tf.cast(loss, aligned.dtype),
            aligned,
            divergence,
            ce=factors.retain_ce,
            pull=factors.retain_pull,
            kl=factors.retain_kl,
        )

    def _taken(self) -> tf.Tensor:
        """Returns the features of the last forward pass, shape `(B, D)`."""
        if self._features is None:
            raise InputError("feature_layer", "a layer that the model calls", self._settings.feature_layer)
        features, self._features = self._features, None
        return losses.flat(features)

    def _divergence(self, images: Any, student_logits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the divergence from the teacher, and the teacher's logits `(B, K)`."""
        assert self._teacher is not None
        scores, _ = self._model.stateless_call(*self._teacher, images, **inference_arguments(self._model))
        self._features = None  # the teacher's
        teacher = tf.stop_gradient(read_logits(scores, self._closed))
        return losses.divergence(teacher, student_logits, self._settings.temperature), teacher

    def _forget(self, images: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Takes a forget step; returns divergence, push, agreement with the teacher and share of clipped entries."""
        model, settings, factors = self._model, self._settings, self._factors
        optimizer = model.optimizer
        variables = model.trainable_variables
        scale = tf.convert_to_tensor(optimizer.scale_loss(tf.constant(1.0)))
        training = dict.fromkeys(inference_arguments(model), True)
        with tf.GradientTape() as tape:
            student = read_logits(model(images, **training), self._closed)
            push = losses.push(
                losses.cosines(self._taken(), self.centroids), settings.weight_power, settings.positive_weights
            )
            divergence, teacher = self._divergence(images, student)
            divergence = tf.cast(divergence, push.dtype)
            loss = losses.forget_loss(divergence, push, kl=factors.forget_kl, push_factor=factors.forget_push)
            scaled = loss * tf.cast(scale, loss.dtype)
        gradients = tape.gradient(scaled, [v.value for v in variables])
        limit = float("inf") if settings.clip is None else settings.clip
        # The optimizer clips, too, after taking its loss scale off; clipping to the scaled limit here is the same.
        plain = [None if g is None else tf.convert_to_tensor(g) / tf.cast(scale, g.dtype) for g in gradients]
        clipped, share = losses.clip_elements(plain, limit)
        optimizer.apply([None if g is None else g * tf.cast(scale, g.dtype) for g in clipped], variables)
        agreement = tf.reduce_mean(tf.cast(tf.argmax(student, -1) == tf.argmax(teacher, -1), tf.float32))
        return divergence, push, agreement, share
