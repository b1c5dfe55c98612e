"""What a watched training counts, keeps and leaves time for; scores and clock are set by the test."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from support.small import blobs
from unlearning.methods import watch as module
from unlearning.methods.watch import Watch
from unlearning.training import pace
from unlearning.training.pace import Budget


class Clock(Budget):
    """A budget of which the test says how much is spent; every score takes a tenth."""

    def __init__(self, scores: list[float]) -> None:
        super().__init__(seconds=1.0)
        self.now, self._scores = 0.0, iter(scores)

    @property
    def spent(self) -> float:
        return self.now

    def accuracy(self, *_: Any) -> float:
        self.now += 0.1
        return next(self._scores)


@pytest.fixture
def watching(monkeypatch):
    def make(scores: list[float], **options: Any) -> tuple[Watch, Any, Clock]:
        clock, weights = Clock(scores), np.zeros(1)
        monkeypatch.setattr(module, "accuracy", clock.accuracy)
        monkeypatch.setattr(module, "recalibrate_batch_norm", lambda *_: None)
        watch = Watch(blobs(12), clock, **options)
        model = SimpleNamespace(
            stop_training=False,
            optimizer=SimpleNamespace(learning_rate=1.0),
            bias=weights,
            get_weights=lambda: [weights.copy()],
        )
        watch.set_model(model)
        return watch, model, clock

    return make


def test_what_ends_first_counts(monkeypatch) -> None:
    now = SimpleNamespace(perf_counter=lambda: 100.0, process_time=lambda: 50.0)
    monkeypatch.setattr(pace, "time", now)
    budgets = [Budget(10, 4), Budget(10), Budget(None, 4), Budget()]
    now.perf_counter, now.process_time = lambda: 105.0, lambda: 53.0
    assert [budget.spent for budget in budgets] == [0.75, 0.5, 0.75, 0]
    assert budgets[3].seconds == 5


def test_the_best_weights_are_those_of_the_first_best_model(watching) -> None:
    watch, model, _ = watching([0.5, 0.5, 0.7, 0.7])
    kept = []
    for number in range(4):
        model.bias[:] = number
        watch.score(model, learning_rate=number)
        kept.append(None if watch.best_weights is None else watch.best_weights[0][0])
    assert kept == [None, None, 2, 2] and not watch.broken
    assert watch.forward_rows == 4 * 12
    assert [(row["step"], row["validation_accuracy"], row["learning_rate"]) for row in watch.history] == [
        *((0, 0.5, 0), (1, 0.5, 1), (2, 0.7, 2), (3, 0.7, 3))
    ]


def test_weights_that_are_not_finite_end_it_without_a_score(watching) -> None:
    watch, model, _ = watching([0.5])
    watch.score(model)
    model.bias[:] = np.nan
    watch.score(model)
    assert watch.broken and model.stop_training and len(watch.history) == 1


@pytest.mark.parametrize("falling", [False, True])
def test_a_constant_rate_is_scored_by_the_epoch_and_a_falling_one_at_its_end(falling: bool, watching) -> None:
    watch, model, clock = watching([0.5, 0.6, 0.7], falling=falling)
    watch.score(model, learning_rate=None)
    stopped = []
    watch.begin(2.0, 10, 1, 1)
    for until in (0.3, 0.95):
        watch.on_train_batch_begin(0)
        clock.now = until
        watch.on_train_batch_end(0)
        watch.on_epoch_end(0)
        stopped.append(model.stop_training)
    watch.on_train_end()
    assert watch.batches == 2 and stopped == [False, True]
    if falling:
        assert [row.get("last_learning_rate") for row in watch.history] == [None, pytest.approx(1.8)]
    else:
        assert [row["learning_rate"] for row in watch.history] == [None, 2.0, 2.0]


def test_a_constant_rate_is_over_with_the_budget(watching) -> None:
    watch, model, clock = watching([0.5])
    watch.score(model)
    clock.now = 0.99
    assert not watch.is_over
    clock.now = 1.0
    assert watch.is_over


@pytest.mark.parametrize(("rows", "scored", "left"), [(None, 1, 0.3), (24, 1, 0.5), (24, 2, 0.3)])
def test_a_falling_rate_leaves_time_for_the_scores_that_come(rows, scored: int, left: float, watching) -> None:
    """One score of this training, with its recalibration where none has been timed, and two at the very end."""
    images = None if rows is None else blobs(rows).images
    watch, model, clock = watching([0.5] * scored, falling=True, recalibration=images)
    for _ in range(scored):
        watch.score(model)
    assert watch.forward_rows == scored * 12 + (scored - 1) * 24
    clock.now = 0.99 - left
    assert not watch.is_over
    clock.now = 1.01 - left
    assert watch.is_over
