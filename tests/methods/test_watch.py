"""What goes along with a plain training, by a clock that the test sets."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from support.small import blobs, small_model
from unlearning.methods.watch import Watch
from unlearning.training.pace import Budget


class Clock(Budget):
    """A budget of which the test says how much is spent."""

    now = 0.0

    def __init__(self) -> None:
        super().__init__(seconds=1.0)

    @property
    def spent(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def watching(clock: Clock, *, falling: bool) -> tuple[Watch, Any]:
    watch = Watch(blobs(12), clock, falling=falling)
    watch.score(small_model(), learning_rate=None)  # takes no time by this clock
    model = SimpleNamespace(stop_training=False, optimizer=SimpleNamespace(learning_rate=1.0))
    watch.set_model(model)
    return watch, model


def step(watch: Watch, model: Any, clock: Clock, until: float) -> tuple[float, bool]:
    """Takes a step that ends at a time; returns its learning rate and whether it was the last one."""
    watch.on_train_batch_begin(0)
    clock.now = until
    watch.on_train_batch_end(0)
    return model.optimizer.learning_rate, model.stop_training


def test_learning_rates_share_the_time_evenly(clock: Clock) -> None:
    watch, model = watching(clock, falling=False)
    watch.begin(1.0, 10**9, 1, 2)
    assert step(watch, model, clock, 0.3) == (1.0, False)
    assert step(watch, model, clock, 0.5) == (1.0, True), "half of the time is for the other rate"
    model.stop_training = False
    watch.begin(1.0, 10**9, 2, 2)
    assert step(watch, model, clock, 0.8) == (1.0, False)
    assert step(watch, model, clock, 1.0) == (1.0, True)


def test_each_rate_falls_over_its_share_of_what_is_left(clock: Clock) -> None:
    """The first step compiles: it is no part of the fall, and what it took is missing for all rates alike."""
    watch, model = watching(clock, falling=True)
    watch.begin(2.0, 10**9, 1, 2)
    assert step(watch, model, clock, 0.2) == (2.0, False)
    assert step(watch, model, clock, 0.3) == (pytest.approx(2.0), False)
    assert step(watch, model, clock, 0.4) == (pytest.approx(2.0 * 0.75), False)
    assert step(watch, model, clock, 0.601) == (pytest.approx(2.0 * 0.5), True)
    model.stop_training = False
    watch.begin(2.0, 10**9, 2, 2)
    assert step(watch, model, clock, 0.602) == (2.0, False)
    assert step(watch, model, clock, 0.801) == (pytest.approx(2.0), False)
    assert step(watch, model, clock, 1.001) == (pytest.approx(2.0 * 0.5, rel=1e-2), True)


def test_steps_end_it_where_they_are_fewer(clock: Clock) -> None:
    watch, model = watching(clock, falling=True)
    watch.begin(1.0, 4, 1, 1)
    rates = [step(watch, model, clock, 0.01 * number) for number in range(4)]
    assert [rate for rate, _ in rates] == pytest.approx([1.0, 0.75, 0.5, 0.25], abs=0.02)
    assert [last for _, last in rates] == [False, False, False, True]
