"""`FeatureSpaceUnlearning`: centroid-based unlearning as a Keras callback around an ordinary `fit`.

The forget pass runs when an epoch begins; the epoch itself is the retain pass. To put the centroid term into it, the
callback wraps two things for as long as `fit` runs: `compute_loss` of the model, and the `call` of its last dense
layer, whose input is the feature vector. So the features come out of the one forward pass that training makes anyway,
the model's own loss, metrics and optimizer stay in charge, and nothing is left behind.

The teacher (the model as it was) is a copy of the weights, not a second model; it runs statelessly in inference mode.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from unlearning.centroids import losses
from unlearning.centroids.report import CentroidReport
from unlearning.centroids.settings import CentroidSettings
from unlearning.centroids.wrapping import feature_layer, wrap_loss, wrap_optimizer
from unlearning.errors import InputError
from unlearning.evaluation import accuracy
from unlearning.interop import gives_probabilities, inference_arguments, observing, read_logits
from unlearning.projection.statistics import recalibrate_batch_norm
from unlearning.streams import stream, stream_seed
from unlearning.task import OutcomeStatus, Split, WorkCount, check_rows, check_split
from unlearning.training.batches import ShuffledBatches

logger = logging.getLogger(__name__)


class FeatureSpaceUnlearning(keras.callbacks.Callback):
    """Unlearns forget rows while a model is fitted on the retain rows.

    At the end the model has the weights of the epoch that was best on the validation rows, or its old ones.

    Args:
        train: The rows the model was trained on, with their given labels, as `(images, labels)` or `Split`.
        validation: Held-out rows with the labels the user has; they choose the epoch.
        forget_rows: Row numbers of `train` to unlearn, known or from `mixture_split`.
        retain_rows: Row numbers of `train` that the centroids and `retain_batches` are made of; None for all others.
        settings: Hyperparameters; None for the defaults.
        seed: Seed of what is drawn.
        **overrides: Fields of `CentroidSettings` to change.

    Attributes:
        reports: One `CentroidReport` a call of `fit`.

    Raises:
        InputError: If rows or settings make no sense; in `fit`, if the model has no dense layer to take features from.

    Example:
        >>> unlearning = FeatureSpaceUnlearning((x, y), (x_val, y_val), wrong)
        >>> history = model.fit(unlearning.retain_batches(), epochs=2, callbacks=[unlearning], verbose=0)
        >>> unlearning.reports[-1].validation_accuracy_after >= unlearning.reports[-1].validation_accuracy_before
        True
    """

    def __init__(
        self,
        train: Split | tuple[np.ndarray, np.ndarray],
        validation: Split | tuple[np.ndarray, np.ndarray],
        forget_rows: np.ndarray,
        *,
        retain_rows: np.ndarray | None = None,
        settings: CentroidSettings | None = None,
        seed: int = 0,
        **overrides: Any,
    ) -> None:
        super().__init__()
        self._train, self._validation = check_split("train", train), check_split("validation", validation)
        self.settings = (settings or CentroidSettings()).changed(**overrides)
        self._factors = self.settings.factors()
        self._forget_rows = np.unique(check_rows("forget_rows", forget_rows, len(self._train)))
        everything = np.arange(len(self._train))
        kept = np.setdiff1d(everything, self._forget_rows)
        if retain_rows is not None:
            kept = np.unique(check_rows("retain_rows", retain_rows, len(self._train)))
        elif not self.settings.exclude_forget:
            kept = everything
        self._retain_rows = np.setdiff1d(kept, self._forget_rows) if self.settings.exclude_forget else kept
        if not len(self._retain_rows):
            raise InputError("forget_rows", "at least one row left to retain", f"{len(self._forget_rows)} rows, all")
        self._seed = seed
        self._wrapped = contextlib.ExitStack()
        self._features: tf.Tensor | None = None
        self.reports: list[CentroidReport] = []

    def retain_batches(self) -> ShuffledBatches:
        """Returns the retain rows with their given labels as data for `fit`, in a new order every epoch."""
        retained = self._train.subset(self._retain_rows)
        return self._batches(retained, self.settings.batch_size, stream_seed(self._seed, "method", "retain order"))

    def _batches(self, rows: Split, batch_size: int, seed: int) -> ShuffledBatches:
        return ShuffledBatches(
            rows.images, rows.labels, batch_size=batch_size, seed=seed, augment=bool(self.settings.augment)
        )

    def on_train_begin(self, logs: Any = None) -> None:
        """Takes the teacher and the centroids from the model, and wraps its loss; Keras calls this."""
        self.release()
        self._started = time.perf_counter()
        self._work = WorkCount()
        self._history: list[dict[str, Any]] = []
        self._forgetting, self._broken = self._factors.forget_kl > 0 or self._factors.forget_push > 0, False
        if getattr(self.model, "optimizer", None) is None:
            raise InputError("model", "a compiled model", "a model without an optimizer")
        few = np.asarray(self._train.images[:8])
        scores = np.asarray(self.model.predict(few, verbose=0), dtype=np.float64)
        self._num_classes = scores.shape[-1]
        if scores.ndim != 2 or self._train.labels.max() >= self._num_classes:
            expected = f"class scores for the labels 0..{self._train.labels.max()}"
            raise InputError("model", expected, f"outputs of shape {scores.shape[1:]}")
        self._closed = gives_probabilities(self.model, few, self._num_classes)
        head = feature_layer(self.model, self.settings.feature_layer)
        if not self.model.optimizer.built:
            self.model.optimizer.build(self.model.trainable_variables)  # not allowed inside the steps' functions
        self._before = self._best = self._score(self._row(None, {}))
        self._best_weights = self.model.get_weights()
        self._best_epoch: int | None = None
        self._teacher = (
            [tf.identity(v.value) for v in self.model.trainable_variables],
            [tf.identity(v.value) for v in self.model.non_trainable_variables],
        )
        try:
            self._wrapped.enter_context(observing([head], self._record))
            self._centroids = tf.Variable(self._measure_centroids(), trainable=False)
            self._rows = tf.Variable(0.0, trainable=False)
            self._aligned = tf.Variable(0.0, trainable=False, dtype=self._centroids.dtype)
            wrap_optimizer(self._wrapped, self.model.optimizer, self.settings)
            self._traced = False
            wrap_loss(self._wrapped, self.model, self._retain)
        except BaseException:
            self.release()
            raise
        self._step = tf.function(self._forget_step, reduce_retracing=True, autograph=False)
        self._broken = not np.isfinite(self._centroids.numpy()).all()
        if self._broken:
            logger.warning("Features of the model are not finite; the model stays as it is.")
            self.model.stop_training = True

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Sets the learning rate and makes the forget pass; Keras calls this."""
        settings = self.settings
        if settings.learning_rate is not None:
            rate = losses.learning_rate(epoch + 1, settings.learning_rate, settings.milestones, settings.decay)
            self.model.optimizer.learning_rate = rate
        self._rows.assign(0.0)
        self._aligned.assign(0.0)
        self._passed: dict[str, float] = {}
        if self._broken:
            return
        if settings.refresh and epoch and epoch % settings.refresh == 0:
            self._centroids.assign(self._measure_centroids())
        if self._forgetting and epoch < settings.forget_epochs:
            self._forget_pass(epoch)
            if settings.stop_agreement is not None:
                self._forgetting = self._passed["forget_agreement"] > settings.stop_agreement

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Refuses a model whose training never asks for its loss; Keras calls this."""
        if not self._traced:
            self.release()
            raise InputError("model", "a model whose train_step calls compute_loss", "one that does not")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Scores the model, keeps it if it is the best so far, and logs what was measured; Keras calls this."""
        retained = float(self._rows.numpy())
        teacher = round(retained) if self._factors.retain_kl else 0
        self._work += WorkCount(forward_rows=teacher, gradient_rows=round(retained))
        if self._broken or not all(np.isfinite(weight).all() for weight in self.model.get_weights()):
            if not self._broken:
                logger.warning("Epoch %d gives weights that are not finite; they are not taken.", epoch + 1)
            self._broken = self.model.stop_training = True
            return
        if self.settings.batch_norm_rows:
            chosen = stream(self._seed, "method", "batch-norm rows").permutation(self._retain_rows)
            chosen = chosen[: self.settings.batch_norm_rows]
            if recalibrate_batch_norm(self.model, self._train.subset(chosen).images):
                self._work += WorkCount(forward_rows=len(chosen))
        self._passed["retain_alignment"] = float(self._aligned.numpy()) / max(retained, 1.0)
        score = self._score(self._row(float(self.model.optimizer.learning_rate), self._passed))
        if logs is not None:
            logs |= {**self._passed, "unlearning_accuracy": score}
        if score > self._best:
            self._best, self._best_weights, self._best_epoch = score, self.model.get_weights(), epoch + 1

    def on_train_end(self, logs: Any = None) -> None:
        """Puts the best weights into the model and adds the report; Keras calls this."""
        self.release()
        self.model.set_weights(self._best_weights)
        applied = self._best_epoch is not None
        status = OutcomeStatus.NON_FINITE if self._broken else OutcomeStatus.NOTHING_IMPROVED
        centroids = self._centroids.numpy()
        report = CentroidReport(
            applied=applied,
            status=OutcomeStatus.IMPROVED if applied else status,
            validation_accuracy_before=self._before,
            validation_accuracy_after=self._best,
            best_epoch=self._best_epoch,
            history=tuple(self._history),
            centroids=centroids if np.isfinite(centroids).all() else None,
            forget_rows=self._forget_rows,
            retain_rows=self._retain_rows,
            work=self._work,
            duration_s=time.perf_counter() - self._started,
        )
        self.reports.append(report)
        del self._teacher, self._step
        if not applied:
            logger.info("Unlearning left the model as it was: %s.", report.status)

    def release(self) -> None:
        """Takes the wrappers off the model. `fit` does so at its end; call it where `fit` was left by an exception."""
        self._wrapped.close()
        self._features = None

    # The two passes

    def _record(self, _: keras.layers.Layer, call: Callable) -> Callable:
        def recorded(*args: Any, **kwargs: Any) -> Any:
            self._features = args[0] if args else kwargs["inputs"]
            return call(*args, **kwargs)

        return recorded

    def _taken(self) -> tf.Tensor:
        """Returns the features of the last forward pass, shape `(B, D)`."""
        if self._features is None:
            raise InputError("feature_layer", "a layer that the model calls", self.settings.feature_layer)
        features, self._features = self._features, None
        return losses.flat(features)

    def _retain(self, loss: tf.Tensor, x: Any, y: Any, scores: tf.Tensor, row_weights: Any) -> tf.Tensor:
        """Returns the loss of a retain step; runs inside the model's own training step."""
        self._traced = True
        cosine = losses.cosines(self._taken(), self._centroids)
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

    def _divergence(self, images: Any, student_logits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the divergence from the teacher, and the teacher's logits `(B, K)`."""
        scores, _ = self.model.stateless_call(*self._teacher, images, **inference_arguments(self.model))
        self._features = None  # the teacher's
        teacher = tf.stop_gradient(read_logits(scores, self._closed))
        return losses.divergence(teacher, student_logits, self.settings.temperature), teacher

    def _forget_step(self, images: tf.Tensor) -> tuple[tf.Tensor, ...]:
        model, settings, factors = self.model, self.settings, self._factors
        optimizer = model.optimizer
        variables = model.trainable_variables
        scale = tf.convert_to_tensor(optimizer.scale_loss(tf.constant(1.0)))
        training = dict.fromkeys(inference_arguments(model), True)
        with tf.GradientTape() as tape:
            student = read_logits(model(images, **training), self._closed)
            push = losses.push(
                losses.cosines(self._taken(), self._centroids), settings.weight_power, settings.positive_weights
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

    def _forget_pass(self, epoch: int) -> None:
        rows = self._train.subset(self._forget_rows)
        seed = stream_seed(self._seed, "method", "forget order")
        batches = self._batches(rows, self.settings.forget_batch_size, seed)
        batches.start_at(epoch)
        totals = np.zeros(4)
        for number in range(len(batches)):
            images, _ = batches[number]
            totals += len(images) * np.array([float(value) for value in self._step(images)])
        self._features = None
        self._work += WorkCount(forward_rows=len(rows), gradient_rows=len(rows))
        names = ("forget_kl", "forget_push", "forget_agreement", "clipped")
        self._passed |= dict(zip(names, (float(total) for total in totals / len(rows)), strict=True))

    # Measurements

    def _measure_centroids(self) -> tf.Tensor:
        """Returns the centroids of the retain rows under the present weights, shape `(K, D)`; no state changes."""
        model, settings = self.model, self.settings
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
        batches = self.retain_batches()
        for number in range(len(batches)):
            total += sums(*batches[number])
        self._work += WorkCount(forward_rows=len(self._retain_rows))
        return tf.math.l2_normalize(total, axis=-1)

    def _row(self, rate: float | None, measured: Mapping[str, float]) -> dict[str, Any]:
        names = ("forget_kl", "forget_push", "forget_agreement", "clipped", "retain_alignment")
        return {"step": len(self._history), "learning_rate": rate, **{name: measured.get(name) for name in names}}

    def _score(self, row: dict[str, Any]) -> float:
        score = accuracy(self.model, self._validation)
        self._features = None
        self._work += WorkCount(forward_rows=len(self._validation))
        seconds = time.perf_counter() - self._started
        self._history.append({**row, "validation_accuracy": score, "seconds": seconds})
        return score
