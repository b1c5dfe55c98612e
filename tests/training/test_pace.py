"""A training's pace, by a clock that the test sets."""

from __future__ import annotations

import pytest

from unlearning.training.pace import Budget, Pace


class Clock(Budget):
    """A budget of which the test says how much is spent."""

    spent = 0.0


def test_what_is_further_counts() -> None:
    clock = Clock()
    pace = Pace(clock, steps=10)
    assert pace.rate(2.0) == 2.0 and not pace.is_over
    clock.spent = 0.5
    assert pace.rate(2.0) == 2.0, "before the first step no time counts"
    pace.step()
    assert pace.rate(2.0) == 1.0
    for _ in range(7):
        pace.step()
    assert pace.rate(2.0) == pytest.approx(0.4)
    clock.spent = 1.5
    assert pace.rate(2.0) == 0.0 and pace.is_over


def test_its_time_begins_after_the_first_step_and_ends_early() -> None:
    clock = Clock()
    pace = Pace(clock, steps=10**9)
    pace.step()
    clock.spent = 0.2
    pace.leave(0.4)
    assert pace.spent == 0
    clock.spent = 0.4
    assert pace.spent == pytest.approx(0.5) and not pace.is_over
    clock.spent = 0.61
    assert pace.is_over


def test_what_is_left_is_shared() -> None:
    clock = Clock()
    pace = Pace(clock, steps=10**9, end=0.5)
    pace.step()
    clock.spent = 0.1
    pace.leave(0.1, among=2)
    clock.spent = 0.3
    assert pace.spent == pytest.approx(0.5)


def test_no_time_left_is_the_end() -> None:
    clock = Clock()
    pace = Pace(clock, steps=10**9)
    pace.step()
    clock.spent = 0.9
    pace.leave(0.2)
    assert pace.is_over


def test_without_limits_steps_alone_count() -> None:
    pace = Pace(Budget(), steps=2)
    pace.step()
    assert pace.spent == 0 and pace.rate(1.0) == 0.5
    pace.step()
    assert pace.is_over
