"""Retraining: the gold standard that every repair is measured against, and what it costs.

The same architecture, fresh weights and the same recipe (schedule and choice of the epoch included), on the corrected
rows or without the flagged ones. The recipe counts epochs: without the flagged rows the same number has fewer steps.

Example:
    >>> from unlearning.methods.retraining import Retraining
    >>> outcome = Retraining(rows="unflagged", epochs=2).unlearn(model, task)
    >>> outcome.validation_accuracy_after >= outcome.validation_accuracy_before
    True
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import model_validator

from unlearning.errors import InputError
from unlearning.methods import FLAGGED, RIGHT_LABELS
from unlearning.methods.base import Method, conclude, corrected_rows
from unlearning.settings import Positive
from unlearning.task import OutcomeStatus, Split, UnlearningOutcome, UnlearningTask, WorkCount
from unlearning.training.settings import TrainSettings

if TYPE_CHECKING:
    import keras

    from unlearning.training import TrainReport

_EPOCHS = 30


class Retraining(Method):
    """Training anew."""

    rows: Literal["corrected", "unflagged"] = "corrected"
    """`"corrected"` trains on all rows with corrected labels (less the removed ones), `"unflagged"` only on the rows
    nobody flagged."""
    epochs: Positive | None = None
    """Passes over them; null for the recipe's."""
    recipe: dict[str, Any] | None = None
    """Fields of `TrainSettings`; null for those the model was trained with, where an experiment knows them."""

    @model_validator(mode="after")
    def _check_recipe(self) -> Retraining:
        self.settings()
        return self

    @property
    def needs(self) -> frozenset[str]:
        """See `Method.needs`."""
        return RIGHT_LABELS if self.rows == "corrected" else FLAGGED

    def adapt(self, recipe: TrainSettings) -> Retraining:
        """See `Method.adapt`."""
        return self if self.recipe is not None else self.changed(recipe=_recorded(recipe))

    def settings(self) -> TrainSettings:
        """Returns the recipe that is followed."""
        known = TrainSettings.model_fields
        values = dict(self.recipe or {})
        for name in values:
            if name not in known:
                raise InputError("recipe", f"fields among {', '.join(sorted(known))}", name)
        values["epochs"] = self.epochs if self.epochs is not None else values.get("epochs", _EPOCHS)
        return TrainSettings(**values)

    def unlearn(self, model: keras.Model, task: UnlearningTask) -> UnlearningOutcome:
        """See `Method.unlearn`."""
        from unlearning.interop import check_classifier, copy_model
        from unlearning.training import TrainingDivergedError

        started = time.perf_counter()
        check_classifier(model, task.train.images, task.num_classes)
        settings = self.settings()
        rows = corrected_rows(task, keep_flagged=self.rows == "corrected")
        history: list[dict[str, Any]] = []
        proposal, status, epochs = None, None, settings.epochs
        try:
            fresh, report = train_anew(model, rows, settings, task.seed)
        except TrainingDivergedError:
            status, epochs = OutcomeStatus.NON_FINITE, 1
        else:
            proposal = copy_model(model, task.train.images)
            proposal.set_weights(fresh.get_weights())
            history = [{"epoch": row["epoch"], "train_loss": row["loss"]} for row in report.history]
        outcome = conclude(
            model,
            proposal,
            task,
            started=started,
            work=WorkCount(gradient_rows=epochs * len(rows)),
            status=status,
            told=self.needs,
        )
        ends = [
            {"step": 0, "validation_accuracy": outcome.validation_accuracy_before},
            {"step": 1, "validation_accuracy": outcome.validation_accuracy_after},
        ]
        return dataclasses.replace(outcome, history=tuple(ends), details={"epochs": history})


def train_anew(
    model: keras.Model, rows: Split, settings: TrainSettings, seed: int, *, again: keras.Model | None = None
) -> tuple[keras.Model, TrainReport]:
    """Trains a model of the same architecture from fresh weights.

    Passes on an `InputError` if the model is subclassed, so that it cannot be built anew. Passes on a
    `TrainingDivergedError` if the loss is no longer finite.

    Args:
        model: A Sequential or functional classifier; it is not changed.
        rows: What to train on, at least one row.
        settings: How to train.
        seed: Seed of the fresh weights and of the order of the rows.
        again: A model that this function has returned for the same `model` and `settings`; it gets the fresh weights,
            and nothing has to be traced again.

    Returns:
        The trained model, with logit outputs, and the report.
    """
    from unlearning.training import ShuffledBatches, train
    from unlearning.training.afresh import draw_afresh

    fresh = draw_afresh(model, seed)
    if again is not None:
        again.set_weights(fresh.get_weights())
        fresh = again
    batches = ShuffledBatches(
        rows.images, rows.labels, batch_size=settings.batch_size, seed=seed, augment=settings.augment
    )
    with tempfile.TemporaryDirectory(prefix="retraining-") as folder:
        return train(
            fresh,
            batches,
            settings=settings,
            checkpoint=Path(folder, "model.keras"),
            log=Path(folder, "log.csv"),
            seed=seed,
        )


def _recorded(recipe: TrainSettings) -> dict[str, Any]:
    """The recipe as records have it: with its objective, plain or not; what came later only where it matters."""
    return {**recipe.config(), "objective": recipe.objective, "objective_options": dict(recipe.objective_options)}
