"""Fine-tuning: a little more training, on better rows. The control for every cheap repair.

    rate(step) = peak * (1 - step / steps)

A learning rate that falls linearly to zero is what makes this control hard to beat: each step at a high rate adds noise
to the weights, which the fall takes out again. Each rate starts from the trained weights, and the model after its last
step is its candidate; the best one on validation is kept. `seconds` and `cpu_seconds` end it all at the time another
method took, search included (in an experiment `like:NAME` looks that time up), and the rate is then at zero, too.

`rows="given"` is annealing: the same steps on the labels as they are. What fine-tuning restores beyond it is owed to
the correction, and not to training on.

Example:
    >>> from unlearning.methods.fine_tuning import FineTuning
    >>> outcome = FineTuning(epochs=2).unlearn(model, task)
    >>> outcome.validation_accuracy_after >= outcome.validation_accuracy_before
    True
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from annotated_types import MinLen

from unlearning.activations import movable
from unlearning.methods.base import TOLD_BY_ROWS, conclude, corrected_rows
from unlearning.methods.limited import Limited
from unlearning.projection.selection import select_trusted
from unlearning.projection.settings import Selection
from unlearning.settings import Count, Positive, PositiveFloat, since
from unlearning.streams import stream, stream_seed
from unlearning.task import OutcomeStatus, Split, UnlearningOutcome, UnlearningTask, WorkCount

if TYPE_CHECKING:
    import keras

    from unlearning.training import TrainSettings

_EPOCHS = 3
_ENDLESS = 10**9


class FineTuning(Limited):
    """A few more epochs."""

    rows: Literal["corrected", "unflagged", "trusted", "given"] = "corrected"
    """`"corrected"`: all rows with corrected labels, less the removed ones; `"unflagged"`: those nobody flagged;
    `"trusted"`: a selection that needs no flagged rows; `"given"`: all rows as they are, which repairs nothing."""
    epochs: Positive | None = None
    """Passes for each learning rate; null for a tenth of the epochs the model was trained for, or, with a falling rate
    and a limit of time, for as many as there is time for. With a falling rate they are counted in steps: whichever
    `rows` are trained on, there are as many steps as in so many passes over all training rows."""
    learning_rates: Annotated[tuple[PositiveFloat, ...], MinLen(1)] = (1e-3,)
    """To be tried, each from the trained weights, with an equal share of the time. Of Adam."""
    schedule: Annotated[Literal["linear", "constant"], since("0.2", before="constant")] = "linear"
    """`"linear"`: the learning rate falls to zero, over the epochs or the time, whichever ends first, and the model
    after the last step is scored; `"constant"`: the model is scored after every epoch."""
    batch_size: Positive = 128
    """Rows a step."""
    augment: bool | None = None
    """Random shifts and mirroring; null for what the model was trained with."""
    trainable_from: str | None = None
    """First layer to update, or `"head"`; null for all."""
    cache_features: Annotated[bool, since("0.2", before=False)] = False
    """Compute what enters that layer once, in inference mode and float16, and train on it; not where rows are
    augmented."""
    batch_norm_rows: Annotated[Count, since("0.2", before=0)] = 0
    """Re-estimate batch normalisation from this many random rows of the training before scoring, as the field of that
    name of `sap` and `fspmu` does; 0: off, so that its statistics are the moving averages of the training."""
    trusted_count: Positive = 1000
    """See `select_trusted`."""
    selection: Selection = "loss"
    """See `select_trusted`."""

    @property
    def needs(self) -> frozenset[str]:
        """See `Method.needs`."""
        return TOLD_BY_ROWS[self.rows]

    @property
    def _is_endless(self) -> bool:
        """Whether only the time ends a training."""
        return self.epochs is None and self.schedule == "linear" and bool(self.limits)

    def adapt(self, recipe: TrainSettings) -> FineTuning:
        """See `Method.adapt`."""
        open_ended = self.epochs is not None or self._is_endless
        return self.changed(
            epochs=self.epochs if open_ended else max(1, round(recipe.epochs / 10)),
            augment=recipe.augment if self.augment is None else self.augment,
        )

    def unlearn(self, model: keras.Model, task: UnlearningTask) -> UnlearningOutcome:
        """See `Method.unlearn`."""
        import keras

        from unlearning import feeding
        from unlearning.interop import as_logit_model, check_classifier, copy_model, gives_probabilities
        from unlearning.methods.watch import Watch
        from unlearning.training import OptimizerStart, ShuffledBatches

        keras.utils.set_random_seed(stream_seed(task.seed, "method"))  # before any copy: dropout layers draw theirs
        budget = self.start()
        check_classifier(model, task.train.images, task.num_classes)
        rows, work = self._rows(model, task)
        tuned = as_logit_model(model, task.train.images)
        part = movable(tuned, self.trainable_from, cached=self.cache_features and not self.augment)
        trained, rows, choosing = part.model, part.rows(rows), part.rows(task.choosing)
        initial = trained.get_weights()
        falling = self.schedule == "linear"
        watch = Watch(
            choosing,
            budget,
            falling=falling,
            recalibration=self._recalibration(rows, task.seed),
            measure=task.measure,
        )
        watch.score(trained, learning_rate=None)
        closed = gives_probabilities(tuned, task.train.images, task.num_classes)  # a softmax out of reach stays
        loss = task.loss.build(closed)
        trained.compile(optimizer=keras.optimizers.Adam(), loss=loss)  # once: compiling means tracing the step again
        optimizer = trained.optimizer  # with mixed precision, Keras has wrapped it
        optimizer.build(trained.trainable_variables)
        start = OptimizerStart(optimizer)
        epochs = _ENDLESS if self._is_endless else self.epochs or _EPOCHS
        steps = epochs * -(-len(task.train) // self.batch_size)
        order = stream_seed(task.seed, "method", "order")
        for number, rate in enumerate(self.learning_rates, start=1):
            if number > 1 and watch.is_over:
                break  # the rates before have taken their share and more
            trained.set_weights(initial)
            start.restore()
            optimizer.learning_rate = rate
            batches = ShuffledBatches(
                rows.images, rows.labels, batch_size=self.batch_size, seed=order, augment=bool(self.augment)
            )
            watch.begin(rate, steps, number, len(self.learning_rates))
            feeding.fit(trained, batches, epochs=-(-steps // len(batches)) if falling else epochs, callbacks=[watch])
        proposal = None
        if watch.best_weights is not None:
            trained.set_weights(watch.best_weights)
            proposal = copy_model(model, task.train.images)
            proposal.set_weights(tuned.get_weights())
        work += WorkCount(forward_rows=watch.forward_rows, gradient_rows=watch.batches * self.batch_size)
        return conclude(
            model,
            proposal,
            task,
            started=budget.started,
            work=work,
            history=watch.history,
            status=OutcomeStatus.NON_FINITE if watch.broken and proposal is None else None,
            told=self.needs,
            details=self.limits,
        )

    def _recalibration(self, rows: Split, seed: int) -> np.ndarray | None:
        """Images from which batch normalisation is re-estimated, in random order; None: it is not."""
        if not self.batch_norm_rows:
            return None
        chosen = stream(seed, "method", "batch-norm rows").permutation(len(rows))[: self.batch_norm_rows]
        return rows.subset(chosen).images

    def _rows(self, model: keras.Model, task: UnlearningTask) -> tuple[Split, WorkCount]:
        if self.rows == "given":
            return task.train, WorkCount()
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
