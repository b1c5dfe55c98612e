"""`FeatureSpaceUnlearning`: centroid-based unlearning as a Keras callback around an ordinary `fit`.

The forget pass runs when an epoch begins; the epoch itself is the retain pass. To put the centroid term into it, the
callback wraps two things for as long as `fit` runs: `compute_loss` of the model, and the `call` of its last dense
layer, whose input is the feature vector. So the features come out of the one forward pass that training makes anyway,
the model's own loss, metrics and optimizer stay in charge, and nothing is left behind.

The teacher (the model as it was) is a copy of the weights, not a second model; it runs statelessly in inference mode.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from unlearning.centroids import losses
from unlearning.centroids.mixture import View, as_logits
from unlearning.errors import invalid
from unlearning.evaluation import accuracy
from unlearning.interop import inference_arguments, outputs_probabilities
from unlearning.projection.sites import observing
from unlearning.projection.statistics import recalibrate_batch_norm
from unlearning.task import OutcomeStatus, Split, WorkCount, check_rows, check_split, replace_settings
from unlearning.training.batches import ShuffledBatches

logger = logging.getLogger(__name__)

PRESETS: Mapping[str, Mapping[str, float]] = {
    "original": {"forget_kl": 1.0, "forget_push": 0.5, "retain_ce": 1.0, "retain_pull": 500.0},
    "nll": {"forget_kl": 1.0, "forget_push": 1.0, "retain_ce": 5.0, "retain_pull": 1.0},
}
"""Factors of the loss terms that the published README gives: for models trained with plain cross-entropy (`original`),
and for models whose training already resisted noisy labels (`nll`)."""


class Factors(NamedTuple):
    """Factors of the loss terms: `eta`, `zeta`, `gamma`, `delta` and `alpha` of the equations in `losses`."""

    forget_kl: float
    forget_push: float
    retain_ce: float
    retain_pull: float
    retain_kl: float


@dataclasses.dataclass(frozen=True)
class CentroidSettings:
    """Hyperparameters of feature-space unlearning.

    Attributes:
        preset: `"original"` or `"nll"`: where the factors that are null come from; see `PRESETS`.
        forget_kl: Factor of the divergence from the unmodified model on forget rows, which is raised.
        forget_push: Factor of the cosine to the near centroids on forget rows, which is lowered.
        retain_ce: Factor of the loss the model is compiled with, regularisers included.
        retain_pull: Factor of the cosine to the centroid of the given label on retain rows, which is raised.
        retain_kl: Factor of the divergence on retain rows, which is lowered; SCRUB has it, FSPMU has not.
        temperature: Of both divergences.
        weight_power: Exponent of the cosines that weight the push.
        positive_weights: Push only away from centroids that a feature points towards.
        forget_epochs: The first so many epochs begin with a forget pass.
        forget_batch_size: Rows a forget step.
        batch_size: Rows of a batch of `retain_batches`, and of the centroids.
        learning_rate: Of the first epoch; null leaves the optimizer's own.
        milestones: Epochs after which the learning rate falls.
        decay: Factor by which it falls.
        clip: Largest absolute value of a gradient entry in both passes; null leaves the optimizer's own clipping.
        centroids: `"soft"`: rows count towards each class by the predicted probability; `"hard"`: by the given label.
        refresh: Recompute the centroids every so many epochs; 0: never.
        view: `"inference"`: centroids (and losses for the mixture) in inference mode; `"training"`: with the statistics
            of the batch, as the published code has it.
        exclude_forget: Take forget rows out of the retain rows.
        stop_agreement: End the forget passes once the model's class equals the unmodified model's on no more than this
            share of the forget rows; no label is looked at. Null: never.
        feature_layer: Name of the dense layer whose input is the feature vector; null for the last one.
        augment: Random shifts and mirroring in both passes; null for none.
        batch_norm_rows: Re-estimate batch normalisation from this many random retain rows before scoring; 0: off.
    """

    preset: Literal["original", "nll"] = "original"
    forget_kl: float | None = None
    forget_push: float | None = None
    retain_ce: float | None = None
    retain_pull: float | None = None
    retain_kl: float = 0.0
    temperature: float = 0.5
    weight_power: float = 2.0
    positive_weights: bool = False
    forget_epochs: int = 5
    forget_batch_size: int = 512
    batch_size: int = 128
    learning_rate: float | None = 5e-4
    milestones: tuple[int, ...] = (7, 10, 10)
    decay: float = 0.1
    clip: float | None = 1.0
    centroids: Literal["soft", "hard"] = "soft"
    refresh: int = 0
    view: View = "inference"
    exclude_forget: bool = True
    stop_agreement: float | None = None
    feature_layer: str | None = None
    augment: bool | None = None
    batch_norm_rows: int = 0

    def __post_init__(self) -> None:
        choices = {"preset": PRESETS, "centroids": ("soft", "hard"), "view": ("inference", "training")}
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise invalid(name, f"one of {', '.join(allowed)}", getattr(self, name))
        for name in Factors._fields:
            if getattr(self, name) is not None and not 0 <= getattr(self, name) < float("inf"):
                raise invalid(name, "a number of at least 0", getattr(self, name))
        for name in ("temperature", "weight_power", "learning_rate", "decay", "clip"):
            if getattr(self, name) is not None and not 0 < getattr(self, name) < float("inf"):
                raise invalid(name, "a positive number", getattr(self, name))
        for name in ("forget_batch_size", "batch_size"):
            if getattr(self, name) < 1:
                raise invalid(name, "a positive integer", getattr(self, name))
        for name in ("forget_epochs", "refresh", "batch_norm_rows"):
            if getattr(self, name) < 0:
                raise invalid(name, "an integer of at least 0", getattr(self, name))
        if self.stop_agreement is not None and not 0 <= self.stop_agreement <= 1:
            raise invalid("stop_agreement", "a number in 0..1, or null", self.stop_agreement)

    def factors(self) -> Factors:
        """Returns the factors of the loss terms, those left open filled in from the preset."""
        values = {name: getattr(self, name) for name in Factors._fields}
        return Factors(**{n: PRESETS[self.preset][n] if value is None else value for n, value in values.items()})


@dataclasses.dataclass(frozen=True, eq=False)
class CentroidReport:
    """What one `fit` with the callback did.

    Attributes:
        applied: Whether the model was changed.
        status: Why.
        validation_accuracy_before: Of the model as it was.
        validation_accuracy_after: Of the model as it is left; never lower.
        best_epoch: The epoch it is from, counted from 1; None where nothing was applied.
        history: One mapping an epoch (step 0 is the model as it was): `step`, `validation_accuracy`, `seconds`,
            `learning_rate`, `forget_kl`, `forget_push`, `forget_agreement` (share of forget rows still in the
            unmodified model's class), `clipped` (share of gradient entries of the forget pass that were clipped),
            `retain_alignment`; null where an epoch had no such pass. Means over the rows of a pass.
        centroids: float array `(classes, features)`, unit rows; None where the features were not finite.
        forget_rows: int64 row numbers.
        retain_rows: int64 row numbers.
        work: Per-example evaluations.
        duration_s: Wall-clock seconds.
    """

    applied: bool
    status: OutcomeStatus
    validation_accuracy_before: float
    validation_accuracy_after: float
    best_epoch: int | None
    history: Sequence[dict[str, Any]]
    centroids: np.ndarray | None
    forget_rows: np.ndarray
    retain_rows: np.ndarray
    work: WorkCount
    duration_s: float

    def details(self) -> dict[str, Any]:
        """Returns what the result files keep beyond the history, as JSON-ready values."""
        cosines = None if self.centroids is None else np.round(self.centroids @ self.centroids.T, 4).tolist()
        return {
            "best_epoch": self.best_epoch,
            "forget_rows": self.forget_rows.tolist(),
            "retain_count": len(self.retain_rows),
            "centroid_cosines": cosines,
        }


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
        >>> unlearning = FeatureSpaceUnlearning((x, y), (x_val, y_val), wrong)  # doctest: +SKIP
        >>> model.fit(unlearning.retain_batches(), epochs=15, callbacks=[unlearning])  # doctest: +SKIP
        >>> unlearning.reports[-1].validation_accuracy_after  # doctest: +SKIP
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
        self.settings = replace_settings(settings or CentroidSettings(), overrides)
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
            raise invalid("forget_rows", "at least one row left to retain", f"{len(self._forget_rows)} rows, all")
        self._seed = seed
        self._wrapped = contextlib.ExitStack()
        self._features: tf.Tensor | None = None
        self.reports: list[CentroidReport] = []

    def retain_batches(self) -> ShuffledBatches:
        """Returns the retain rows with their given labels as data for `fit`, in a new order every epoch."""
        retained = self._train.subset(self._retain_rows)
        return self._batches(retained, self.settings.batch_size, self._seed)

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
            raise invalid("model", "a compiled model", "a model without an optimizer")
        few = np.asarray(self._train.images[:8])
        scores = np.asarray(self.model.predict(few, verbose=0), dtype=np.float64)
        self._num_classes = scores.shape[-1]
        if scores.ndim != 2 or self._train.labels.max() >= self._num_classes:
            expected = f"class scores for the labels 0..{self._train.labels.max()}"
            raise invalid("model", expected, f"outputs of shape {scores.shape[1:]}")
        self._takes_log = outputs_probabilities(scores)
        head = self._head()
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
            self._wrap_optimizer()
            self._wrap_loss()
        except BaseException:
            self.release()
            raise
        self._step = tf.function(self._forget_step, reduce_retracing=True)
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
            raise invalid("model", "a model whose train_step calls compute_loss", "one that does not")

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
            chosen = np.random.default_rng((self._seed, 1)).permutation(self._retain_rows)
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

    # What is wrapped while `fit` runs

    def _head(self) -> keras.layers.Layer:
        name = self.settings.feature_layer
        layers = [x for x in self.model._flatten_layers(include_self=False) if isinstance(x, keras.layers.Dense)]
        chosen = [layer for layer in layers if layer.name == name] if name else layers[-1:]
        if not chosen:
            found = ", ".join(layer.name for layer in layers) or "none"
            raise invalid("feature_layer", f"one of the model's dense layers: {found}", name)
        return chosen[0]

    def _record(self, _: keras.layers.Layer, call: Callable) -> Callable:
        def recorded(*args: Any, **kwargs: Any) -> Any:
            self._features = args[0] if args else kwargs["inputs"]
            return call(*args, **kwargs)

        return recorded

    def _taken(self) -> tf.Tensor:
        """Returns the features of the last forward pass, shape `(B, D)`."""
        if self._features is None:
            raise invalid("feature_layer", "a layer that the model calls", self.settings.feature_layer)
        features, self._features = self._features, None
        return losses.flat(features)

    def _wrap_optimizer(self) -> None:
        optimizer = self.model.optimizer
        settings = self.settings
        inner = getattr(optimizer, "inner_optimizer", optimizer)  # loss scaling wraps the one that clips
        if settings.learning_rate is not None:
            if isinstance(inner._learning_rate, keras.optimizers.schedules.LearningRateSchedule):
                raise invalid(
                    "learning_rate", "null, since the optimizer has a schedule of its own", settings.learning_rate
                )
            self._wrapped.callback(setattr, inner, "learning_rate", float(inner.learning_rate))
        if settings.clip is not None:
            for name, value in (("clipnorm", None), ("global_clipnorm", None), ("clipvalue", settings.clip)):
                self._wrapped.callback(setattr, inner, name, getattr(inner, name))
                setattr(inner, name, value)

    def _wrap_loss(self) -> None:
        model = self.model
        own = model.compute_loss
        self._traced = False

        def compute_loss(
            x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
        ) -> Any:
            accepted = {"training": training} if model._compute_loss_has_training_arg else {}
            loss = own(x, y, y_pred, sample_weight, **accepted)
            return self._retain(loss, x, y, y_pred, sample_weight) if training else loss

        # Past Keras' attribute tracking, as for `call`; and the steps are traced anew, with the wrapper and without.
        previous = model.__dict__.get("compute_loss")
        object.__setattr__(model, "compute_loss", compute_loss)
        model.make_train_function(force=True)

        def restore() -> None:
            model.__dict__.pop("compute_loss", None)
            if previous is not None:
                object.__setattr__(model, "compute_loss", previous)
            model.train_function = None

        self._wrapped.callback(restore)

    # The two passes

    def _retain(self, loss: tf.Tensor, x: Any, y: Any, scores: tf.Tensor, row_weights: Any) -> tf.Tensor:
        """Returns the loss of a retain step; runs inside the model's own training step."""
        self._traced = True
        cosine = losses.cosines(self._taken(), self._centroids)
        given = losses.class_weights(y, self._num_classes)
        aligned = losses.alignment(cosine, given, row_weights)
        divergence: tf.Tensor | float = 0.0
        if self._factors.retain_kl:
            student = as_logits(scores, self._takes_log)
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
        teacher = tf.stop_gradient(as_logits(scores, self._takes_log))
        return losses.divergence(teacher, student_logits, self.settings.temperature), teacher

    def _forget_step(self, images: tf.Tensor) -> tuple[tf.Tensor, ...]:
        model, settings, factors = self.model, self.settings, self._factors
        optimizer = model.optimizer
        variables = model.trainable_variables
        scale = tf.convert_to_tensor(optimizer.scale_loss(tf.constant(1.0)))
        training = dict.fromkeys(inference_arguments(model), True)
        with tf.GradientTape() as tape:
            student = as_logits(model(images, **training), self._takes_log)
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
        batches = self._batches(rows, self.settings.forget_batch_size, self._seed + 1)
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

        @tf.function(reduce_retracing=True)
        def sums(images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
            now = [v.value for v in model.trainable_variables], [v.value for v in model.non_trainable_variables]
            scores, _ = model.stateless_call(*now, images, **training)
            if settings.centroids == "hard":
                weights = losses.class_weights(labels, self._num_classes)
            else:
                weights = tf.nn.softmax(as_logits(scores, self._takes_log))
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
