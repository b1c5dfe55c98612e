"""Fine-tuning: a little more training, on better rows. The control for every cheap repair.

Each learning rate starts from the trained weights; after every epoch the model is scored on validation, and the best
one is kept. `seconds` ends it all at the time another method took, search included; in an experiment `like:NAME` looks
that time up.

Example:
    >>> from unlearning.methods.fine_tuning import FineTuning
    >>> outcome = FineTuning(seconds=30).unlearn(model, task)  # doctest: +SKIP
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from typing import Any, Literal

import keras
import numpy as np

from unlearning import feeding
from unlearning.errors import invalid
from unlearning.evaluation import accuracy
from unlearning.interop import as_logit_model, check_classifier, copy_model
from unlearning.methods.base import Method, conclude, corrected_rows
from unlearning.projection.selection import Selection, select_trusted
from unlearning.task import OutcomeStatus, Split, UnlearningOutcome, UnlearningTask, WorkCount
from unlearning.training import OptimizerStart, ShuffledBatches, TrainSettings

_EPOCHS = 3
_LIKE = "like:"


@dataclasses.dataclass(frozen=True)
class FineTuning(Method):
    """A few more epochs.

    Attributes:
        rows: `"corrected"`: all rows with corrected labels, less the removed ones; `"unflagged"`: those nobody flagged;
            `"trusted"`: a selection that needs no flagged rows.
        epochs: Passes for each learning rate; null for a tenth of the epochs the model was trained for.
        learning_rates: To be tried, each from the trained weights.
        batch_size: Rows a step.
        augment: Random shifts and mirroring; null for what the model was trained with.
        trainable_from: First layer to update; null for all.
        seconds: Most wall-clock seconds, shared evenly by the learning rates; `epochs` is then only an upper limit.
            `"like:NAME"`, in an experiment, for as long as the result `NAME` of the same cell took.
        trusted_count: See `select_trusted`.
        selection: See `select_trusted`.
    """

    rows: Literal["corrected", "unflagged", "trusted"] = "corrected"
    epochs: int | None = None
    learning_rates: tuple[float, ...] = (1e-3, 3e-4, 1e-4)
    batch_size: int = 128
    augment: bool | None = None
    trainable_from: str | None = None
    seconds: float | str | None = None
    trusted_count: int = 1000
    selection: Selection = "loss"

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "trusted_count"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise invalid(name, "a positive integer", getattr(self, name))
        if not self.learning_rates or min(self.learning_rates) <= 0:
            raise invalid("learning_rates", "a non-empty list of positive floats", self.learning_rates)
        if isinstance(self.seconds, str):
            if not self.seconds.removeprefix(_LIKE) or not self.seconds.startswith(_LIKE):
                raise invalid("seconds", "a positive number, null, or like:NAME", self.seconds)
        elif self.seconds is not None and not self.seconds > 0:
            raise invalid("seconds", "a positive number, null, or like:NAME", self.seconds)

    @property
    def needs_flagged(self) -> bool:
        """See `Method.needs_flagged`."""
        return self.rows != "trusted"

    def adapt(self, recipe: TrainSettings) -> FineTuning:
        """See `Method.adapt`."""
        return dataclasses.replace(
            self,
            epochs=max(1, round(recipe.epochs / 10)) if self.epochs is None else self.epochs,
            augment=recipe.augment if self.augment is None else self.augment,
        )

    def waits_for(self) -> tuple[str, ...]:
        """See `Method.waits_for`."""
        return (self.seconds.removeprefix(_LIKE),) if isinstance(self.seconds, str) else ()

    def resolve(self, durations: Mapping[str, float]) -> FineTuning:
        """See `Method.resolve`."""
        names = self.waits_for()
        return dataclasses.replace(self, seconds=durations[names[0]]) if names else self

    def unlearn(self, model: keras.Model, task: UnlearningTask) -> UnlearningOutcome:
        """See `Method.unlearn`."""
        started = time.perf_counter()
        limit = self.seconds
        if isinstance(limit, str):
            raise invalid("seconds", "a number (like:NAME needs a cell of an experiment with that result)", limit)
        check_classifier(model, task.train.images, task.num_classes)
        rows, work = self._rows(model, task)
        tuned = as_logit_model(model)
        self._freeze(tuned)
        initial = tuned.get_weights()
        watch = _Watch(task.validation, started)
        watch.score(tuned, learning_rate=None)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        tuned.compile(optimizer=keras.optimizers.Adam(), loss=loss)  # once: each compiling means tracing the step again
        optimizer = tuned.optimizer  # with mixed precision, Keras has wrapped it
        optimizer.build(tuned.trainable_variables)
        start = OptimizerStart(optimizer)
        for number, rate in enumerate(self.learning_rates, start=1):
            if number > 1 and limit is not None and time.perf_counter() - started > limit:
                break  # the rates before have taken their share and more
            tuned.set_weights(initial)
            keras.utils.set_random_seed(task.seed)
            start.restore()
            optimizer.learning_rate = rate
            if limit is not None:
                watch.deadline = started + limit * number / len(self.learning_rates)
            watch.rate = rate
            batches = ShuffledBatches(
                rows.images, rows.labels, batch_size=self.batch_size, seed=task.seed, augment=bool(self.augment)
            )
            feeding.fit(tuned, batches, epochs=self.epochs or _EPOCHS, callbacks=[watch])
        proposal = None
        if watch.best_weights is not None:
            proposal = copy_model(model)
            proposal.set_weights(watch.best_weights)
        steps = WorkCount(
            forward_rows=len(watch.history) * len(task.validation), gradient_rows=watch.batches * self.batch_size
        )
        return conclude(
            model,
            proposal,
            task,
            started=started,
            work=work + steps,
            history=watch.history,
            status=OutcomeStatus.NON_FINITE if watch.broken and proposal is None else None,
            details={} if limit is None else {"seconds": limit},
        )

    def _rows(self, model: keras.Model, task: UnlearningTask) -> tuple[Split, WorkCount]:
        if self.rows != "trusted":
            return corrected_rows(task, keep_flagged=self.rows == "corrected"), WorkCount()
        if task.trusted_rows is not None:
            chosen, work = task.trusted_rows, WorkCount()
        else:
            chosen, work = select_trusted(
                model,
                task.train,
                count=self.trusted_count,
                by=self.selection,
                num_classes=task.num_classes,
                seed=task.seed,
            )
        return task.train.subset(chosen), work

    def _freeze(self, model: keras.Model) -> None:
        if self.trainable_from is None:
            return
        names = [layer.name for layer in model.layers]
        if self.trainable_from not in names:
            raise invalid("trainable_from", f"one of the layers {', '.join(names)}", self.trainable_from)
        for layer in model.layers[: names.index(self.trainable_from)]:
            layer.trainable = False


class _Watch(keras.callbacks.Callback):
    """Scores on validation after every epoch, keeps the best weights, and stops at the deadline."""

    def __init__(self, validation: Split, started: float) -> None:
        super().__init__()
        self._validation, self._started = validation, started
        self.deadline = float("inf")
        self.rate: float | None = None
        self.history: list[dict[str, Any]] = []
        self.batches = 0
        self.broken = False
        self.best_weights: list[np.ndarray] | None = None
        self._best = -1.0

    def score(self, model: keras.Model, **columns: Any) -> None:
        """Adds a row to the history; the first one is the model as it came."""
        weights = model.get_weights()
        if not all(np.isfinite(weight).all() for weight in weights):
            self.broken = model.stop_training = True
            return
        score = accuracy(model, self._validation)
        seconds = time.perf_counter() - self._started
        self.history.append({"step": len(self.history), "validation_accuracy": score, "seconds": seconds, **columns})
        if score > self._best:
            self.best_weights, self._best = (weights if len(self.history) > 1 else None), score

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.batches += 1
        if time.perf_counter() > self.deadline:
            self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        # A deadline in the middle of an epoch ends it here, too.
        self.score(self.model, learning_rate=self.rate)
        if time.perf_counter() > self.deadline:
            self.model.stop_training = True
