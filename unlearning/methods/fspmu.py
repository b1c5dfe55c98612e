"""Feature-space unlearning as a method: bad rows are left out, the others close up to the centroids of their classes.

    loss = CE - delta mean_i cos(f_i, mu_y_i),     mu_k = unit vector along  sum_{i: y_i = k} f_i / |f_i|

`f_i` is what the last dense layer gets of row `i`, and `y_i` its label. Rows that are called another class pull the
features of one class apart; the bad ones are left out, and the good ones close up to where the good ones of their class
are in the mean, by the model as it came. The rest is what makes any short training good: Adam, a learning rate that
falls to zero, the upper half of the network alone, on inputs computed once, and batch statistics of the new weights.

After github.com/meruemon/FSPMU, of which this keeps the pull; its schedule, with a forget pass first, is
`fspmu-reference`. The work is done by the callback in `unlearning.centroids`; here it runs on a copy of a trained
model. `pred` says where the bad rows come from: from the user, from one of the two published rules, or from any
detector. Their right labels are looked at where `rows` says so, and never otherwise.

Example:
    >>> from unlearning.methods.fspmu import Fspmu
    >>> outcome = Fspmu(epochs=2).unlearn(model, task)
    >>> outcome.validation_accuracy_after >= outcome.validation_accuracy_before
    True
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import numpy as np
from annotated_types import Ge, Lt
from pydantic import Field, model_validator

from unlearning import detection
from unlearning.activations import movable
from unlearning.centroids.settings import PUBLISHED, CentroidSettings
from unlearning.errors import InputError
from unlearning.methods import FLAGGED, NOTHING, RIGHT_LABELS
from unlearning.methods.base import check_unflagged, conclude
from unlearning.methods.forget_rows import RULES, ForgetRows, find
from unlearning.methods.limited import Limited
from unlearning.settings import NonNegative, Positive, PositiveFloat, since
from unlearning.streams import stream_seed
from unlearning.task import REMOVED, OutcomeStatus, Split, UnlearningOutcome, UnlearningTask

if TYPE_CHECKING:
    import keras

    from unlearning.training import TrainSettings

logger = logging.getLogger(__name__)

_BelowOne = Annotated[float, Ge(0), Lt(1)]
_EPOCHS = 2
_ENDLESS = 10**9

Optimizer = Annotated[Literal["adam", "sgd"], since("0.2", before="sgd", group=PUBLISHED)]
"""What takes the steps."""
Boundary = Annotated[str, since("0.2", before="all", group=PUBLISHED)]
"""Name of a layer, or `"all"`, `"middle"` or `"head"`."""
Cached = Annotated[bool, since("0.2", before=False, group=PUBLISHED)]
"""Whether activations are computed once."""


class Fspmu(CentroidSettings, Limited):
    """Feature-space unlearning of a trained model; the fields of `CentroidSettings` and these."""

    pred: str = "known"
    """Bad rows: `"known"`, the flagged ones; `"gmm"`, those that a Gaussian mixture on the losses tells apart;
    `"memorised"`, for models whose training already resisted wrong labels: those that a probe of the same architecture,
    trained for a few epochs, finds noisy and the model finds clean (rows that the model finds noisy are left out
    altogether); or the suspects of a detector (`unlearning.detection.available()`). What a detector does counts as one
    forward pass over the training rows; its seconds are all there."""
    pred_options: dict[str, Any] = Field(default_factory=dict)
    """Options of that detector."""
    rows: Annotated[Literal["unflagged", "corrected"], since("0.2", before="unflagged")] = "unflagged"
    """`"unflagged"`: those nobody flagged are retained; `"corrected"`: so are flagged ones whose right label is known,
    with that label."""
    gmm_threshold: _BelowOne = 0.5
    """A row stays iff its probability of the low-loss component exceeds this."""
    gmm_normalise: bool = False
    """Map the losses to 0..1 before the mixture is fitted; finds more where labels are memorised."""
    probe_epochs: Positive = 10
    """Passes of the probe over the training rows; 10 are published for ten classes, 30 for a hundred."""
    probe_learning_rate: PositiveFloat = 0.1
    """Of the probe, which is trained by SGD; its momentum, weight decay and batch size are those of the method."""
    epochs: Positive | None = None
    """Passes over the retain rows; null for a tenth of the epochs the model was trained for, and at least 2, or, with a
    limit of time, for as many as there is time for. While the learning rate falls to zero they are counted in steps, as
    those of `fine-tuning`: there are as many as in so many passes over all training rows."""
    trainable_from: Boundary = "middle"
    """First layer to update, or `"all"`, `"head"` or `"middle"`: everything behind the middle one of the places where a
    network shrinks its images, or all of one that has no such place (see `interop.boundary.middle`)."""
    cache_features: Cached = True
    """Compute what enters that layer once, in inference mode and float16, and train on it; not where rows are
    augmented."""
    optimizer: Optimizer = "adam"
    """`"adam"` or `"sgd"`."""
    momentum: _BelowOne = 0.9
    """Of the SGD optimizer."""
    weight_decay: NonNegative = 5e-4
    """Of the SGD optimizer, decoupled."""
    seconds: Annotated[float | str | None, since("0.2", before=None)] = None
    """Most wall-clock seconds, search included; given `epochs` are then only an upper limit. `"like:NAME"`, in an
    experiment, for as long as the result `NAME` of the same cell took."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.pred not in (*RULES, *detection.available()):
            raise InputError("pred", f"one of {', '.join((*RULES, *detection.available()))}", self.pred)
        if self.pred not in RULES:
            detection.get(self.pred, self.pred_options)
        elif self.pred_options:
            raise InputError("pred_options", f"none with pred={self.pred}, which is no detector", self.pred_options)
        if self.rows == "corrected" and self.pred != "known":
            raise InputError("rows", f"'unflagged' with pred={self.pred}, which knows no right labels", self.rows)
        if self.learning_rate is None:
            raise InputError("learning_rate", "a positive number", self.learning_rate)
        return self

    @property
    def needs_flagged(self) -> bool:
        """See `Method.needs_flagged`."""
        return self.pred == "known"

    @property
    def needs(self) -> frozenset[str]:
        """See `Method.needs`."""
        if self.rows == "corrected":
            return RIGHT_LABELS
        return FLAGGED if self.needs_flagged else NOTHING

    @property
    def _is_endless(self) -> bool:
        """Whether only the time ends the training."""
        return self.epochs is None and self.schedule == "linear" and bool(self.limits)

    def adapt(self, recipe: TrainSettings) -> Self:
        """See `Method.adapt`."""
        open_ended = self.epochs is not None or self._is_endless
        return self.changed(
            epochs=self.epochs if open_ended else max(_EPOCHS, round(recipe.epochs / 10)),
            augment=recipe.augment if self.augment is None else self.augment,
        )

    def unlearn(self, model: keras.Model, task: UnlearningTask) -> UnlearningOutcome:
        """See `Method.unlearn`."""
        import keras

        from unlearning import feeding
        from unlearning.centroids.callback import FeatureSpaceUnlearning
        from unlearning.interop import as_logit_model, check_classifier, copy_model, gives_probabilities

        budget = self.start()
        keras.utils.set_random_seed(stream_seed(task.seed, "method"))  # before any copy: dropout layers draw theirs
        check_classifier(model, task.train.images, task.num_classes)
        tuned = as_logit_model(model, task.train.images)
        if self.pred == "known" and self.rows == "unflagged":
            check_unflagged(task)
        found = find(self, model, tuned, task)
        status = found.status
        if status is None and not self._leaves_both(found, task):
            status = OutcomeStatus.NOTHING_FLAGGED
        if status is not None:
            logger.info("Nothing to forget by pred=%s: %s.", self.pred, status)
            return conclude(
                model, None, task, started=budget.started, work=found.work, status=status, details=found.details
            )
        closed = gives_probabilities(tuned, task.train.images, task.num_classes)
        part = movable(tuned, self.trainable_from, cached=self.cache_features and not self.augment)
        part.model.compile(
            optimizer=self._optimizer(),
            loss=task.loss.build(closed),
        )
        epochs = _ENDLESS if self._is_endless else self.epochs or _EPOCHS
        steps = epochs * -(-len(task.train) // self.batch_size) if self.schedule == "linear" else None
        callback = FeatureSpaceUnlearning(
            part.rows(self._as_retained(task)),
            part.rows(task.choosing),
            found.forget,
            right_labels=task.corrections.labels if self.rows == "corrected" else None,
            retain_rows=found.retain,
            settings=CentroidSettings(**{name: getattr(self, name) for name in CentroidSettings.model_fields}),
            seed=task.seed,
            steps=steps,
            budget=budget,
        )
        batches = callback.retain_batches()
        feeding.fit(
            part.model, batches, epochs=epochs if steps is None else -(-steps // len(batches)), callbacks=[callback]
        )
        report = callback.reports[-1]
        proposal = None
        if report.applied:
            proposal = copy_model(model, task.train.images)
            proposal.set_weights(tuned.get_weights())
        factors = callback.settings.factors()._asdict()
        return conclude(
            model,
            proposal,
            task,
            started=budget.started,
            work=found.work + report.work,
            history=report.history,
            status=report.status,
            told=self.needs,
            details={**found.details, "factors": factors, **report.details(), **self.limits},
            rows={"forget_rows": report.forget_rows},
        )

    def _optimizer(self) -> keras.optimizers.Optimizer:
        import keras

        assert self.learning_rate is not None
        if self.optimizer == "adam":
            return keras.optimizers.Adam(self.learning_rate)
        return keras.optimizers.SGD(self.learning_rate, momentum=self.momentum, weight_decay=self.weight_decay or None)

    def _as_retained(self, task: UnlearningTask) -> Split:
        """The training rows with their given labels, and the corrected images of rows that are retained corrected."""
        flagged = task.corrections
        if self.rows != "corrected" or flagged.images is None:
            return task.train
        images, known = np.array(task.train.images), flagged.labels != REMOVED
        images[flagged.rows[known]] = flagged.images[known]
        return Split(images, task.train.labels)

    def _leaves_both(self, found: ForgetRows, task: UnlearningTask) -> bool:
        """Whether there are rows to forget, and rows to retain besides them."""
        kept = np.arange(len(task.train)) if found.retain is None else found.retain
        forget = found.forget
        if self.rows == "corrected":
            forget = forget[task.corrections.labels == REMOVED]
        return len(found.forget) > 0 and len(np.setdiff1d(kept, forget)) > 0
