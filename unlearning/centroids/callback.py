"""`FeatureSpaceUnlearning`: centroid-based unlearning as a Keras callback around an ordinary `fit`.

The epochs of `fit` are the retain passes; a forget pass, where there is one, runs when an epoch begins. To put the
centroid term into them, the callback wraps two things for as long as `fit` runs: `compute_loss` of the model, and the
`call` of its last dense layer, whose input is the feature vector. So the model's own loss, metrics and optimizer stay
in charge, and nothing is left behind.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from unlearning.centroids import losses
from unlearning.centroids.report import CentroidReport
from unlearning.centroids.settings import CentroidSettings
from unlearning.centroids.terms import Terms
from unlearning.centroids.wrapping import feature_layer, wrap_loss, wrap_optimizer
from unlearning.errors import InputError
from unlearning.evaluation import accuracy
from unlearning.interop import gives_probabilities, need_tensorflow, observing
from unlearning.progress import pulse
from unlearning.projection.statistics import recalibrate_batch_norm
from unlearning.streams import stream, stream_seed
from unlearning.task import REMOVED, OutcomeStatus, Split, WorkCount, check_rows, check_split
from unlearning.training.batches import ShuffledBatches
from unlearning.training.pace import Budget, Pace

logger = logging.getLogger(__name__)

_MEASURED = ("forget_kl", "forget_push", "forget_agreement", "clipped", "retain_alignment")


class FeatureSpaceUnlearning(keras.callbacks.Callback):
    """Unlearns forget rows while a model is fitted on the retain rows.

    At the end the model has its new weights where they are better on the validation rows, or its old ones. While the
    learning rate falls to zero, those after the last step are the new ones; where it falls by milestones, those of the
    best epoch.

    Args:
        train: The rows the model was trained on, with their given labels, as `(images, labels)` or `Split`.
        validation: Held-out rows with the labels the user has.
        forget_rows: Row numbers of `train` to unlearn, known or from `mixture_split`.
        right_labels: For each of `forget_rows`, in their order, its right label, or `REMOVED` (-1) where that is not
            known. Rows with one are retained with it; the centroids are made of the others. None: none is known.
        retain_rows: Row numbers of `train` that the centroids and `retain_batches` are made of; None for all others.
        settings: Hyperparameters; None for the defaults.
        seed: Seed of what is drawn.
        steps: The number of steps in which the learning rate falls to zero, and `fit` stops; None: as many as it makes.
        budget: What of time may be spent: the learning rate falls to zero until then, and `fit` stops. None: any.
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
        right_labels: np.ndarray | None = None,
        retain_rows: np.ndarray | None = None,
        settings: CentroidSettings | None = None,
        seed: int = 0,
        steps: int | None = None,
        budget: Budget | None = None,
        **overrides: Any,
    ) -> None:
        super().__init__()
        self._train, self._validation = check_split("train", train), check_split("validation", validation)
        self.settings = (settings or CentroidSettings()).changed(**overrides)
        self._forget_rows = np.unique(check_rows("forget_rows", forget_rows, len(self._train)))
        self._corrected = np.empty(0, np.int64)
        if right_labels is not None:
            self._correct(np.asarray(forget_rows), np.asarray(right_labels))
        everything = np.arange(len(self._train))
        kept = np.setdiff1d(everything, self._forget_rows)
        if retain_rows is not None:
            kept = np.union1d(check_rows("retain_rows", retain_rows, len(self._train)), self._corrected)
        elif not self.settings.exclude_forget:
            kept = everything
        self._retain_rows = np.setdiff1d(kept, self._forget_rows) if self.settings.exclude_forget else kept
        if not len(self._retain_rows):
            raise InputError("forget_rows", "at least one row left to retain", f"{len(self._forget_rows)} rows, all")
        self._seed, self._given_steps, self._given_budget = seed, steps, budget
        self._wrapped = contextlib.ExitStack()
        self._terms: Terms | None = None
        self.reports: list[CentroidReport] = []

    def _correct(self, rows: np.ndarray, right_labels: np.ndarray) -> None:
        """Takes rows whose right label is known from those to forget, and gives them that label."""
        if right_labels.shape != rows.shape or len(np.unique(rows)) != len(rows):
            expected = f"one label for each of {len(np.unique(rows))} different forget_rows"
            raise InputError("right_labels", expected, f"{right_labels.shape} labels, {rows.shape} rows")
        if not np.issubdtype(right_labels.dtype, np.integer) or right_labels.min(initial=0) < REMOVED:
            raise InputError("right_labels", f"class numbers, or {REMOVED} where a label is not known", right_labels)
        known = right_labels != REMOVED
        labels = self._train.labels.copy()
        labels[rows[known]] = right_labels[known]
        self._train = Split(self._train.images, labels)
        self._corrected, self._forget_rows = np.sort(rows[known]), np.sort(rows[~known])

    def retain_batches(self) -> ShuffledBatches:
        """Returns the retain rows as data for `fit`, in a new order every epoch: with the labels given, or right."""
        return self._batches(self._retain_rows, self.settings.batch_size, "retain order")

    def _batches(self, rows: np.ndarray, batch_size: int, purpose: str) -> ShuffledBatches:
        chosen = self._train.subset(rows)
        return ShuffledBatches(
            chosen.images,
            chosen.labels,
            batch_size=batch_size,
            seed=stream_seed(self._seed, "method", purpose),
            augment=bool(self.settings.augment),
        )

    def on_train_begin(self, logs: Any = None) -> None:
        """Takes the teacher and the centroids from the model, and wraps its loss; Keras calls this."""
        need_tensorflow("FeatureSpaceUnlearning")
        self.release()
        self._budget = self._given_budget or Budget()
        self._pace: Pace | None = None
        self._work = WorkCount()
        self._history: list[dict[str, Any]] = []
        self._passed: dict[str, float] = {}
        self._broken = False
        if getattr(self.model, "optimizer", None) is None:
            raise InputError("model", "a compiled model", "a model without an optimizer")
        few = np.asarray(self._train.images[:8])
        scores = np.asarray(self.model.predict(few, verbose=0), dtype=np.float64)
        num_classes = scores.shape[-1]
        if scores.ndim != 2 or self._train.labels.max() >= num_classes:
            expected = f"class scores for the labels 0..{self._train.labels.max()}"
            raise InputError("model", expected, f"outputs of shape {scores.shape[1:]}")
        closed = gives_probabilities(self.model, few, num_classes)
        head = feature_layer(self.model, self.settings.feature_layer)
        if not self.model.optimizer.built:
            self.model.optimizer.build(self.model.trainable_variables)  # not allowed inside the steps' functions
        spent = self._budget.spent
        self._before = self._best = self._score(None)
        self._scoring = self._budget.spent - spent
        self._best_weights = self.model.get_weights()
        self._best_epoch: int | None = None
        self._terms = terms = Terms(self.model, self.settings, num_classes, closed=closed)
        self._forgetting = terms.forgets and len(self._forget_rows) > 0
        try:
            self._wrapped.enter_context(observing([head], terms.record))
            self._measure_centroids(terms)
            self._peak = wrap_optimizer(self._wrapped, self.model.optimizer, self.settings)
            wrap_loss(self._wrapped, self.model, terms.retain)
        except BaseException:
            self.release()
            raise
        self._broken = not np.isfinite(terms.centroids.numpy()).all()
        if self._broken:
            logger.warning("Features of the model are not finite; the model stays as it is.")
            self.model.stop_training = True

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Sets the learning rate and makes the forget pass; Keras calls this."""
        settings, terms = self.settings, self._running
        self._epoch = epoch
        if self._pace is None:
            self._pace = Pace(self._budget, self._count_steps(epoch))
        if self._falls:
            self.model.optimizer.learning_rate = self._pace.rate(self._peak)
        elif settings.learning_rate is not None:
            rate = losses.learning_rate(epoch + 1, settings.learning_rate, settings.milestones, settings.decay)
            self.model.optimizer.learning_rate = rate
        terms.start_epoch()
        self._passed = {}
        if self._broken:
            return
        if settings.refresh and epoch and epoch % settings.refresh == 0:
            self._measure_centroids(terms)
        if self._forgetting and epoch < settings.forget_epochs:
            self._forget_pass(epoch)
            if settings.stop_agreement is not None:
                self._forgetting = self._passed["forget_agreement"] > settings.stop_agreement

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Lets the learning rate fall; Keras calls this."""
        if self._falls and self._pace is not None:
            self.model.optimizer.learning_rate = self._pace.rate(self._peak)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Counts, stops in time, and refuses a model whose training never asks for its loss; Keras calls this."""
        if not self._running.traced:
            self.release()
            raise InputError("model", "a model whose train_step calls compute_loss", "one that does not")
        assert self._pace is not None
        self._pace.step()
        if self._falls and self._pace.made == 1:
            again = min(self.settings.batch_norm_rows, len(self._retain_rows)) / len(self._validation)
            self._pace.leave((3 + again) * self._scoring)  # this score, and those of the old model and the new one
        if self._pace.is_over if self._falls else self._pace.spent >= 1:
            self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Logs what was measured and, unless the learning rate falls to zero, scores the model; Keras calls this."""
        retained = self._running.retained
        teacher = round(retained) if self.settings.retain_kl else 0
        self._work += WorkCount(forward_rows=teacher, gradient_rows=round(retained))
        if self._broken or not all(np.isfinite(weight).all() for weight in self.model.get_weights()):
            if not self._broken:
                logger.warning("Epoch %d gives weights that are not finite; they are not taken.", epoch + 1)
            self._broken = self.model.stop_training = True
            return
        self._passed["retain_alignment"] = self._running.alignment
        measured = dict(self._passed) if self._falls else {**self._passed, "unlearning_accuracy": self._propose()}
        if logs is not None:
            logs |= measured

    def on_train_end(self, logs: Any = None) -> None:
        """Puts the best weights into the model and adds the report; Keras calls this."""
        centroids = self._running.centroids.numpy()
        self.release()
        if self._falls and not self._broken and self._pace is not None:
            self._propose()
        self.model.set_weights(self._best_weights)
        applied = self._best_epoch is not None
        status = OutcomeStatus.NON_FINITE if self._broken else OutcomeStatus.NOTHING_IMPROVED
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
            corrected=len(self._corrected),
            work=self._work,
            duration_s=self._budget.seconds,
        )
        self.reports.append(report)
        if not applied:
            logger.info("Unlearning left the model as it was: %s.", report.status)

    def release(self) -> None:
        """Takes the wrappers off the model. `fit` does so at its end; call it where `fit` was left by an exception."""
        self._wrapped.close()
        self._terms = None

    @property
    def _falls(self) -> bool:
        """Whether the learning rate falls to zero."""
        return self.settings.schedule == "linear"

    @property
    def _running(self) -> Terms:
        """The terms of the `fit` that runs."""
        if self._terms is None:
            raise InputError("callbacks", "a callback that fit has begun with", "one that was released")
        return self._terms

    def _count_steps(self, epoch: int) -> int:
        """Returns how many steps `fit` will make from an epoch on, or may make."""
        if self._given_steps is not None:
            return self._given_steps
        epochs, steps = self.params.get("epochs"), self.params.get("steps")
        if epochs is None or steps is None:
            if self._falls:
                raise InputError(
                    "schedule", "'milestones' for data that do not tell how many batches they are", "linear"
                )
            return 1
        return max((epochs - epoch) * steps, 1)

    def _forget_pass(self, epoch: int) -> None:
        rows = self._forget_rows
        batches = self._batches(rows, self.settings.forget_batch_size, "forget order")
        batches.start_at(epoch)
        totals = np.zeros(4)
        for number in range(len(batches)):
            pulse()
            images, _ = batches[number]
            totals += len(images) * np.array([float(value) for value in self._running.forget(images)])
        self._running.drop()
        self._work += WorkCount(forward_rows=len(rows), gradient_rows=len(rows))
        self._passed |= dict(zip(_MEASURED, (float(total) for total in totals / len(rows)), strict=False))

    def _measure_centroids(self, terms: Terms) -> None:
        """Makes the centroids of retain rows, of those whose labels nobody had to correct where there are any."""
        rows = np.setdiff1d(self._retain_rows, self._corrected)
        rows, count = rows if len(rows) else self._retain_rows, self.settings.centroid_rows
        if 0 < count < len(rows):
            rows = np.sort(stream(self._seed, "method", "centroid rows").permutation(rows)[:count])
        batches = self._batches(rows, self.settings.batch_size, "retain order")
        terms.measure(batches[number] for number in range(len(batches)))
        self._work += WorkCount(forward_rows=len(rows))

    def _propose(self) -> float:
        """Scores the model with batch statistics of its own, and keeps its weights if they are the best so far."""
        if self.settings.batch_norm_rows:
            chosen = stream(self._seed, "method", "batch-norm rows").permutation(self._retain_rows)
            chosen = chosen[: self.settings.batch_norm_rows]
            if recalibrate_batch_norm(self.model, self._train.subset(chosen).images):
                self._work += WorkCount(forward_rows=len(chosen))
        score = self._score(self._peak if self._falls else float(self.model.optimizer.learning_rate), self._passed)
        if score > self._best:
            self._best, self._best_weights, self._best_epoch = score, self.model.get_weights(), self._epoch + 1
        return score

    def _score(self, rate: float | None, measured: Mapping[str, float] | None = None) -> float:
        score = accuracy(self.model, self._validation)
        if self._terms is not None:
            self._terms.drop()
        self._work += WorkCount(forward_rows=len(self._validation))
        row = {"step": len(self._history), "learning_rate": rate, **dict.fromkeys(_MEASURED), **(measured or {})}
        self._history.append({**row, "validation_accuracy": score, "seconds": self._budget.seconds})
        return score
