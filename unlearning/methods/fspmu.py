"""Feature-space unlearning as a method: forget rows leave the class centroids, the others close up to theirs.

    L_forget = -eta KL(old || new) + zeta push,   L_retain = gamma CE - delta alignment      (see `centroids.losses`)

After github.com/meruemon/FSPMU. The work is done by the callback in `unlearning.centroids`; here it runs on a copy of a
trained model. Flagged rows say which labels are wrong; what the right ones would be is never looked at. The epoch is
chosen on validation rows, where the published code takes the test set.

Example:
    >>> from unlearning.methods.fspmu import Fspmu
    >>> outcome = Fspmu(epochs=10).unlearn(model, task)  # doctest: +SKIP
"""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Any, Literal, Self

import keras
import numpy as np

from unlearning.centroids.callback import CentroidSettings, FeatureSpaceUnlearning
from unlearning.centroids.mixture import mixture_split, row_losses
from unlearning.errors import invalid
from unlearning.interop import as_logit_model, check_classifier, copy_model, outputs_probabilities
from unlearning.methods.base import Method, conclude
from unlearning.task import OutcomeStatus, UnlearningOutcome, UnlearningTask, WorkCount

if TYPE_CHECKING:
    from unlearning.training import TrainSettings


@dataclasses.dataclass(frozen=True)
class Fspmu(CentroidSettings, Method):
    """Feature-space unlearning of a trained model; the fields of `CentroidSettings` and these.

    Attributes:
        pred: Forget rows: `"known"`, the flagged ones, or `"gmm"`, those that a Gaussian mixture on the losses tells
            apart.
        gmm_threshold: A row stays iff its probability of the low-loss component exceeds this.
        gmm_normalise: Map the losses to 0..1 before the mixture is fitted; finds more where labels are memorised.
        epochs: Passes over the retain rows.
        momentum: Of the SGD optimizer.
        weight_decay: Of the SGD optimizer, decoupled.
    """

    pred: Literal["known", "gmm"] = "known"
    gmm_threshold: float = 0.5
    gmm_normalise: bool = False
    epochs: int = 15
    momentum: float = 0.9
    weight_decay: float = 5e-4

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pred not in ("known", "gmm"):
            raise invalid("pred", "one of known, gmm", self.pred)
        if self.learning_rate is None:
            raise invalid("learning_rate", "a positive number", self.learning_rate)
        if not 0 <= self.gmm_threshold < 1:
            raise invalid("gmm_threshold", "a float in [0, 1)", self.gmm_threshold)
        if self.epochs < 1:
            raise invalid("epochs", "a positive integer", self.epochs)
        if not 0 <= self.momentum < 1:
            raise invalid("momentum", "a float in [0, 1)", self.momentum)
        if self.weight_decay < 0:
            raise invalid("weight_decay", "a float of at least 0", self.weight_decay)

    def adapt(self, recipe: TrainSettings) -> Self:
        """See `Method.adapt`."""
        return dataclasses.replace(self, augment=recipe.augment if self.augment is None else self.augment)

    def unlearn(self, model: keras.Model, task: UnlearningTask) -> UnlearningOutcome:
        """See `Method.unlearn`."""
        started = time.perf_counter()
        check_classifier(model, task.train.images, task.num_classes)
        tuned = as_logit_model(model)
        forget, work, details, status = self._forget_rows(tuned, task)
        if status is None and not 0 < len(forget) < len(task.train):
            status = OutcomeStatus.NOTHING_FLAGGED
        if status is not None:
            return conclude(model, None, task, started=started, work=work, status=status, details=details)
        keras.utils.set_random_seed(task.seed)
        probabilities = outputs_probabilities(check_classifier(tuned, task.train.images, task.num_classes))
        tuned.compile(
            optimizer=keras.optimizers.SGD(
                self.learning_rate, momentum=self.momentum, weight_decay=self.weight_decay or None
            ),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=not probabilities),
        )
        callback = FeatureSpaceUnlearning(
            task.train, task.validation, forget, settings=self._settings(), seed=task.seed
        )
        tuned.fit(callback.retain_batches(), epochs=self.epochs, shuffle=False, callbacks=[callback], verbose=0)
        report = callback.reports[-1]
        proposal = None
        if report.applied:
            proposal = copy_model(model)
            proposal.set_weights(tuned.get_weights())
        setup = callback.settings.factors()._asdict()
        return conclude(
            model,
            proposal,
            task,
            started=started,
            work=work + report.work,
            history=report.history,
            status=report.status,
            details={**details, "factors": setup, **report.details()},
        )

    def _settings(self) -> CentroidSettings:
        names = [field.name for field in dataclasses.fields(CentroidSettings)]
        return CentroidSettings(**{name: getattr(self, name) for name in names})

    def _forget_rows(
        self, model: keras.Model, task: UnlearningTask
    ) -> tuple[np.ndarray, WorkCount, dict[str, Any], OutcomeStatus | None]:
        """Returns the forget rows, the work it took, what to report, and why there are none."""
        if self.pred == "known":
            return task.corrections.rows, WorkCount(), {}, None
        losses = row_losses(
            model,
            task.train,
            task.num_classes,
            view=self.view,
            augment=bool(self.augment) and self.view == "training",
            batch_size=self.batch_size,
            seed=task.seed,
        )
        work = WorkCount(forward_rows=len(task.train))
        if not np.isfinite(losses).all():
            return np.empty(0, np.int64), work, {}, OutcomeStatus.NON_FINITE
        split = mixture_split(losses, self.gmm_threshold, task.seed, normalise=self.gmm_normalise)
        return split.forget, work, {"mixture": split.details()}, None
