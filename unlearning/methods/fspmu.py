"""Feature-space unlearning as a method: forget rows leave the class centroids, the others close up to theirs.

    L_forget = -eta KL(old || new) + zeta push,   L_retain = gamma CE - delta alignment      (see `centroids.losses`)

After github.com/meruemon/FSPMU. The work is done by the callback in `unlearning.centroids`; here it runs on a copy of a
trained model. `pred` says where the forget rows come from: from the user, from one of the two published rules, or from
any detector. Flagged rows say which labels are wrong; what the right ones would be is never looked at. The epoch is
chosen on validation rows, where the published code takes the test set.

Example:
    >>> from unlearning.methods.fspmu import Fspmu
    >>> outcome = Fspmu(epochs=2).unlearn(model, task)
    >>> outcome.validation_accuracy_after >= outcome.validation_accuracy_before
    True
"""

from __future__ import annotations

import dataclasses
import logging
import time
from typing import TYPE_CHECKING, Annotated, Any, Self

import numpy as np
from annotated_types import Ge, Lt
from pydantic import Field, model_validator

from unlearning import detection
from unlearning.centroids.settings import CentroidSettings, View
from unlearning.errors import InputError
from unlearning.methods import FLAGGED, NOTHING
from unlearning.methods.base import Method, check_unflagged, conclude
from unlearning.settings import NonNegative, Positive, PositiveFloat
from unlearning.streams import stream_seed
from unlearning.task import OutcomeStatus, UnlearningOutcome, UnlearningTask, WorkCount

if TYPE_CHECKING:
    import keras

    from unlearning.training import TrainSettings

logger = logging.getLogger(__name__)

_BelowOne = Annotated[float, Ge(0), Lt(1)]
_RULES = ("known", "gmm", "memorised")


@dataclasses.dataclass(frozen=True, eq=False)
class _Found:
    """Rows to forget and how they were found.

    Attributes:
        forget: Row numbers; empty where there is nothing to forget.
        retain: Row numbers to retain; None for all (others).
        work: What it took.
        details: What to report.
        status: Why there are none, where that is not for lack of suspects.
    """

    forget: np.ndarray
    retain: np.ndarray | None = None
    work: WorkCount = dataclasses.field(default_factory=WorkCount)
    details: dict[str, Any] = dataclasses.field(default_factory=dict)
    status: OutcomeStatus | None = None


def _nowhere(work: WorkCount) -> _Found:
    return _Found(np.empty(0, np.int64), work=work, status=OutcomeStatus.NON_FINITE)


class Fspmu(CentroidSettings, Method):
    """Feature-space unlearning of a trained model; the fields of `CentroidSettings` and these."""

    pred: str = "known"
    """Forget rows: `"known"`, the flagged ones; `"gmm"`, those that a Gaussian mixture on the losses tells apart;
    `"memorised"`, for models whose training already resisted wrong labels: those that a probe of the same architecture,
    trained for a few epochs, finds noisy and the model finds clean (rows that the model finds noisy are left out
    altogether); or the suspects of a detector (`unlearning.detection.available()`). What a detector does counts as one
    forward pass over the training rows; its seconds are all there."""
    pred_options: dict[str, Any] = Field(default_factory=dict)
    """Options of that detector."""
    gmm_threshold: _BelowOne = 0.5
    """A row stays iff its probability of the low-loss component exceeds this."""
    gmm_normalise: bool = False
    """Map the losses to 0..1 before the mixture is fitted; finds more where labels are memorised."""
    probe_epochs: Positive = 10
    """Passes of the probe over the training rows; 10 are published for ten classes, 30 for a hundred."""
    probe_learning_rate: PositiveFloat = 0.1
    """Of the probe; its momentum, weight decay and batch size are those of the method."""
    epochs: Positive = 15
    """Passes over the retain rows."""
    momentum: _BelowOne = 0.9
    """Of the SGD optimizer."""
    weight_decay: NonNegative = 5e-4
    """Of the SGD optimizer, decoupled."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.pred not in (*_RULES, *detection.available()):
            raise InputError("pred", f"one of {', '.join((*_RULES, *detection.available()))}", self.pred)
        if self.pred not in _RULES:
            detection.get(self.pred, self.pred_options)
        elif self.pred_options:
            raise InputError("pred_options", f"none with pred={self.pred}, which is no detector", self.pred_options)
        if self.learning_rate is None:
            raise InputError("learning_rate", "a positive number", self.learning_rate)
        return self

    @property
    def needs_flagged(self) -> bool:
        """See `Method.needs_flagged`."""
        return self.pred == "known"

    @property
    def needs(self) -> frozenset[str]:
        """See `Method.needs`: the right labels are never looked at."""
        return FLAGGED if self.needs_flagged else NOTHING

    def adapt(self, recipe: TrainSettings) -> Self:
        """See `Method.adapt`."""
        return self.changed(augment=recipe.augment) if self.augment is None else self

    def unlearn(self, model: keras.Model, task: UnlearningTask) -> UnlearningOutcome:
        """See `Method.unlearn`."""
        import keras

        from unlearning import feeding
        from unlearning.centroids.callback import FeatureSpaceUnlearning
        from unlearning.interop import as_logit_model, check_classifier, copy_model, gives_probabilities

        started = time.perf_counter()
        keras.utils.set_random_seed(stream_seed(task.seed, "method"))  # before any copy: dropout layers draw theirs
        check_classifier(model, task.train.images, task.num_classes)
        tuned = as_logit_model(model, task.train.images)
        if self.pred == "known":
            check_unflagged(task)
        found = self._find(model, tuned, task)
        status = found.status
        if status is None and not self._leaves_both(found, len(task.train)):
            status = OutcomeStatus.NOTHING_FLAGGED
        if status is not None:
            logger.info("Nothing to forget by pred=%s: %s.", self.pred, status)
            return conclude(model, None, task, started=started, work=found.work, status=status, details=found.details)
        probabilities = gives_probabilities(tuned, task.train.images, task.num_classes)
        self._compile(tuned, self.learning_rate, probabilities)
        callback = FeatureSpaceUnlearning(
            task.train,
            task.choosing,
            found.forget,
            retain_rows=found.retain,
            settings=self._settings(),
            seed=task.seed,
        )
        feeding.fit(tuned, callback.retain_batches(), epochs=self.epochs, callbacks=[callback])
        report = callback.reports[-1]
        proposal = None
        if report.applied:
            proposal = copy_model(model, task.train.images)
            proposal.set_weights(tuned.get_weights())
        setup = callback.settings.factors()._asdict()
        return conclude(
            model,
            proposal,
            task,
            started=started,
            work=found.work + report.work,
            history=report.history,
            status=report.status,
            told=self.needs,
            details={**found.details, "factors": setup, **report.details()},
            rows={"forget_rows": report.forget_rows},
        )

    def _settings(self) -> CentroidSettings:
        return CentroidSettings(**{name: getattr(self, name) for name in CentroidSettings.model_fields})

    def _compile(self, model: keras.Model, learning_rate: float | None, probabilities: bool) -> None:
        import keras

        model.compile(
            optimizer=keras.optimizers.SGD(
                learning_rate, momentum=self.momentum, weight_decay=self.weight_decay or None
            ),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=not probabilities),
        )

    def _leaves_both(self, found: _Found, rows: int) -> bool:
        """Whether there are rows to forget, and rows to retain besides them."""
        kept = np.arange(rows) if found.retain is None else found.retain
        return len(found.forget) > 0 and len(np.setdiff1d(kept, found.forget)) > 0

    def _find(self, model: keras.Model, tuned: keras.Model, task: UnlearningTask) -> _Found:
        """Finds the forget rows; `tuned` is the model's working copy."""
        from unlearning.centroids.mixture import memorised_split, mixture_split

        if self.pred == "known":
            return _Found(task.corrections.rows)
        if self.pred not in _RULES:
            return self._detect(model, task)
        final = self._losses(tuned, task, self.view)
        work = WorkCount(forward_rows=len(task.train))
        if not np.isfinite(final).all():
            return _nowhere(work)
        if self.pred == "gmm":
            split = mixture_split(final, self.gmm_threshold, task.seed, normalise=self.gmm_normalise)
            return _Found(split.forget, work=work, details={"mixture": split.details()})
        early = self._losses(self._probe(tuned, task), task, "inference")
        work += WorkCount(forward_rows=len(task.train), gradient_rows=self.probe_epochs * len(task.train))
        if not np.isfinite(early).all():
            return _nowhere(work)
        both = memorised_split(early, final, self.gmm_threshold, task.seed, normalise=self.gmm_normalise)
        return _Found(both.forget, both.retain, work, {"mixture": both.details()})

    def _losses(self, model: keras.Model, task: UnlearningTask, view: View) -> np.ndarray:
        from unlearning.centroids.mixture import row_losses

        return row_losses(
            model,
            task.train,
            task.num_classes,
            view=view,
            # The published code augments what it scores in either mode.
            augment=bool(self.augment) and self.view == "training",
            batch_size=self.batch_size,
            seed=task.seed,
        )

    def _probe(self, model: keras.Model, task: UnlearningTask) -> keras.Model:
        """Returns a model of the same architecture, trained for a few epochs on the given labels."""
        from unlearning import feeding
        from unlearning.interop import gives_probabilities
        from unlearning.training import ShuffledBatches
        from unlearning.training.afresh import draw_afresh

        seed = stream_seed(task.seed, "method", "probe")
        probe = draw_afresh(model, seed, logits=False)
        probabilities = gives_probabilities(probe, task.train.images, task.num_classes)
        self._compile(probe, self.probe_learning_rate, probabilities)
        rows = ShuffledBatches(
            task.train.images,
            task.train.labels,
            batch_size=self.batch_size,
            seed=seed,
            augment=bool(self.augment),
        )
        feeding.fit(probe, rows, epochs=self.probe_epochs)
        return probe

    def _detect(self, model: keras.Model, task: UnlearningTask) -> _Found:
        from unlearning.evaluation import predict

        detector = detection.get(self.pred, self.pred_options)
        work = WorkCount(forward_rows=len(task.train))
        try:
            detected = detector.detect(model, task.train, task.num_classes, task.seed)
        except InputError:
            if np.isfinite(predict(model, task.train.images)).all():
                raise
            return _nowhere(work)
        details = {
            "detector": self.pred,
            "options": detector.config(),
            "status": str(detected.status),
            "suspects": len(detected.suspects),
        }
        return _Found(detected.suspects, work=work, details={"detection": details})
