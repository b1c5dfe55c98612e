"""Fine-tuning: a little more training, on better rows. The control for every cheap repair.

Each learning rate starts from the trained weights; after every epoch the model is scored on validation, and the best
one is kept. `seconds` ends it all at the time another method took, search included; in an experiment `like:NAME` looks
that time up.

Example:
    >>> from unlearning.methods.fine_tuning import FineTuning
    >>> outcome = FineTuning(seconds=30).unlearn(model, task)  # doctest: +SKIP
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import MinLen
from pydantic import model_validator

from unlearning.errors import invalid
from unlearning.methods.base import Method, conclude, corrected_rows
from unlearning.projection.selection import select_trusted
from unlearning.projection.settings import Selection
from unlearning.settings import Positive, PositiveFloat
from unlearning.task import OutcomeStatus, Split, UnlearningOutcome, UnlearningTask, WorkCount

if TYPE_CHECKING:
    import keras

    from unlearning.training import TrainSettings

_EPOCHS = 3
_LIKE = "like:"


class FineTuning(Method):
    """A few more epochs."""

    rows: Literal["corrected", "unflagged", "trusted"] = "corrected"
    """`"corrected"`: all rows with corrected labels, less the removed ones; `"unflagged"`: those nobody flagged;
    `"trusted"`: a selection that needs no flagged rows."""
    epochs: Positive | None = None
    """Passes for each learning rate; null for a tenth of the epochs the model was trained for."""
    learning_rates: Annotated[tuple[PositiveFloat, ...], MinLen(1)] = (1e-3, 3e-4, 1e-4)
    """To be tried, each from the trained weights."""
    batch_size: Positive = 128
    """Rows a step."""
    augment: bool | None = None
    """Random shifts and mirroring; null for what the model was trained with."""
    trainable_from: str | None = None
    """First layer to update; null for all."""
    seconds: float | str | None = None
    """Most wall-clock seconds, shared evenly by the learning rates; `epochs` is then only an upper limit.
    `"like:NAME"`, in an experiment, for as long as the result `NAME` of the same cell took."""
    trusted_count: Positive = 1000
    """See `select_trusted`."""
    selection: Selection = "loss"
    """See `select_trusted`."""

    @model_validator(mode="after")
    def _check(self) -> FineTuning:
        seconds = self.seconds
        named = isinstance(seconds, str) and seconds.startswith(_LIKE) and seconds != _LIKE
        if not (named or seconds is None or (isinstance(seconds, float | int) and seconds > 0)):
            raise invalid("seconds", "a positive number, null, or like:NAME", seconds)
        return self

    @property
    def needs_flagged(self) -> bool:
        """See `Method.needs_flagged`."""
        return self.rows != "trusted"

    def adapt(self, recipe: TrainSettings) -> FineTuning:
        """See `Method.adapt`."""
        return self.changed(
            epochs=max(1, round(recipe.epochs / 10)) if self.epochs is None else self.epochs,
            augment=recipe.augment if self.augment is None else self.augment,
        )

    def waits_for(self) -> tuple[str, ...]:
        """See `Method.waits_for`."""
        return (self.seconds.removeprefix(_LIKE),) if isinstance(self.seconds, str) else ()

    def resolve(self, durations: Mapping[str, float]) -> FineTuning:
        """See `Method.resolve`."""
        names = self.waits_for()
        return self.changed(seconds=durations[names[0]]) if names else self

    def unlearn(self, model: keras.Model, task: UnlearningTask) -> UnlearningOutcome:
        """See `Method.unlearn`."""
        import keras

        from unlearning import feeding
        from unlearning.interop import as_logit_model, check_classifier, copy_model, gives_probabilities
        from unlearning.methods.watch import Watch
        from unlearning.training import OptimizerStart, ShuffledBatches

        started = time.perf_counter()
        limit = self.seconds
        if isinstance(limit, str):
            raise invalid("seconds", "a number (like:NAME needs a cell of an experiment with that result)", limit)
        check_classifier(model, task.train.images, task.num_classes)
        rows, work = self._rows(model, task)
        tuned = as_logit_model(model)
        self._freeze(tuned)
        initial = tuned.get_weights()
        watch = Watch(task.validation, started)
        watch.score(tuned, learning_rate=None)
        closed = gives_probabilities(tuned, task.train.images, task.num_classes)  # a softmax out of reach stays
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=not closed)
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
