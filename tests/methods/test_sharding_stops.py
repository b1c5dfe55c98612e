"""What a sharded repair counts where a training diverges, and where flagged rows leave."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from support.small import poisoned_task, small_model
from unlearning.methods import sharding
from unlearning.methods.sharding import Sharding, assign_shards
from unlearning.task import Corrections, OutcomeStatus
from unlearning.training import TrainingDivergedError


@pytest.fixture
def trainings(monkeypatch):
    """Trainings that cost nothing and diverge at those numbers; the sizes of what they were given."""

    def install(*diverge: int) -> list[int]:
        sizes: list[int] = []

        def train(model, rows, settings, seed, again=None):
            sizes.append(len(rows))
            if len(sizes) in diverge:
                raise TrainingDivergedError("not finite")
            return small_model(seed=len(sizes)), None

        monkeypatch.setattr(sharding, "train_anew", train)
        return sizes

    return install


def repaired(rows: str = "corrected"):
    """Three shards of ten rows; flagged is one row of each of the last two."""
    task, true = poisoned_task(rows=30, flips=30)
    shards = assign_shards(30, 3, task.seed)
    flagged = np.array([shards[1][0], shards[2][0]])
    task = dataclasses.replace(task, corrections=Corrections(flagged, true[flagged]))
    return Sharding(shards=3, epochs=7, rows=rows, recipe={"learning_rate": 0.01}).unlearn(small_model(), task)


@pytest.mark.parametrize(("rows", "kept"), [("corrected", 10), ("unflagged", 9)])
def test_flagged_rows_are_corrected_or_leave(rows: str, kept: int, trainings) -> None:
    sizes = trainings()
    outcome = repaired(rows)
    assert sizes == [10, 10, 10, kept, kept]
    assert outcome.details["affected_shards"] == [1, 2] and outcome.details["retrained_rows"] == 2 * kept
    assert outcome.work.gradient_rows == 7 * 2 * kept
    assert "prepared_validation_accuracy" in outcome.details and outcome.details["constituents"] == 3


def test_a_preparation_that_diverges_ends_it(trainings) -> None:
    sizes = trainings(2)
    outcome = repaired()
    assert outcome.status is OutcomeStatus.NON_FINITE and sizes == [10, 10]
    assert outcome.details["preparation_work"]["gradient_rows"] == 7 * 10 + 10  # it diverges in its first epoch
    assert outcome.details["retrained_rows"] == 0 and "prepared_validation_accuracy" not in outcome.details


def test_a_renewal_that_diverges_ends_it(trainings) -> None:
    sizes = trainings(4)
    outcome = repaired()
    assert outcome.status is OutcomeStatus.NON_FINITE and sizes == [10, 10, 10, 10]
    assert outcome.details["retrained_rows"] == 10 and outcome.work.gradient_rows == 10
    assert "constituents" not in outcome.details and not outcome.applied
