"""Retraining: which recipe it follows, on which rows, and what it says of its work."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest

from support.small import poisoned_task, small_model
from unlearning.errors import InputError
from unlearning.methods import FLAGGED, RIGHT_LABELS
from unlearning.methods.retraining import Retraining, train_anew
from unlearning.task import REMOVED, Corrections, OutcomeStatus, Split, UnlearningTask
from unlearning.training.settings import TrainSettings

QUICK = {"learning_rate": 0.01, "batch_size": 16}


@pytest.fixture(scope="module")
def small() -> tuple[keras.Model, UnlearningTask]:
    """Forty rows, ten of them flagged and three of these to be removed."""
    task, true = poisoned_task(rows=40, flips=10, validation=40)
    labels = np.where(np.arange(10) < 3, REMOVED, true[:10])
    return small_model(), dataclasses.replace(task, corrections=Corrections(np.arange(10), labels))


class TestRecipe:
    def test_epochs_are_its_own_then_the_recipes_then_thirty(self) -> None:
        assert Retraining(epochs=2, recipe={"epochs": 5}).settings().epochs == 2
        assert Retraining(recipe={"epochs": 5}).settings().epochs == 5
        assert Retraining().settings().epochs == Retraining(recipe={"batch_size": 16}).settings().epochs == 30
        assert Retraining(recipe=QUICK).settings() == TrainSettings(epochs=30, **QUICK)

    def test_a_given_recipe_is_not_replaced(self) -> None:
        trained = TrainSettings(epochs=7, batch_size=32)
        assert Retraining().adapt(trained).settings() == trained
        assert Retraining(epochs=3).adapt(trained).settings() == trained.changed(epochs=3)
        given = Retraining(recipe={})
        assert given.adapt(trained) is given

    @pytest.mark.parametrize(
        ("recipe", "match"),
        [({"speed": 1}, "fields among .*batch_size.* Received: 'speed'"), ({"epochs": 0}, "epochs")],
    )
    def test_what_no_recipe_has_is_refused_at_once(self, recipe: dict, match: str) -> None:
        with pytest.raises(InputError, match=match):
            Retraining(recipe=recipe)

    def test_rows_say_what_it_needs_to_know(self) -> None:
        assert Retraining().needs == RIGHT_LABELS and Retraining(rows="unflagged").needs == FLAGGED


@pytest.mark.parametrize(("rows", "count"), [("corrected", 37), ("unflagged", 30)])
def test_work_and_history_are_those_of_the_epochs(small, rows: str, count: int) -> None:
    outcome = Retraining(rows=rows, epochs=3, recipe=QUICK).unlearn(*small)
    assert outcome.work.gradient_rows == 3 * count
    assert [row["epoch"] for row in outcome.details["epochs"]] == [1, 2, 3]
    assert all(row["train_loss"] > 0 for row in outcome.details["epochs"])
    assert outcome.history == (
        {"step": 0, "validation_accuracy": outcome.validation_accuracy_before},
        {"step": 1, "validation_accuracy": outcome.validation_accuracy_after},
    )


def test_a_training_that_diverges_is_a_status(small) -> None:
    model, task = small
    images = task.train.images.copy()
    images[20] = np.inf
    broken = dataclasses.replace(task, train=Split(images, task.train.labels))
    outcome = Retraining(epochs=9, recipe=QUICK).unlearn(model, broken)
    assert outcome.status is OutcomeStatus.NON_FINITE and not outcome.applied
    assert outcome.work.gradient_rows == 37  # it has not seen more than one epoch
    assert outcome.details == {"epochs": []}


def test_a_model_trained_before_is_used_again_with_fresh_weights(small) -> None:
    model, task = small
    settings = TrainSettings(epochs=1, **QUICK)
    first, _ = train_anew(model, task.train, settings, 5)
    weights = first.get_weights()
    other, _ = train_anew(model, task.train, settings, 6, again=first)
    assert other is first and any((a != b).any() for a, b in zip(weights, other.get_weights(), strict=True))
    again, _ = train_anew(model, task.train, settings, 5, again=first)
    for a, b in zip(weights, again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
