"""The steps of a training against a clock that a test turns."""

import pytest

from unlearning.methods.choosing.course import Course


class Clock:
    """Seconds that are left."""

    def __init__(self, left: float) -> None:
        self.left = left

    def __call__(self) -> float:
        return self.left


def run(course: Course, clock: Clock, a_step: float, first: float = 0.0) -> list[float]:
    rates = []
    while not course.is_over:
        rates.append(course.rate(1.0))
        clock.left -= a_step if rates[1:] else first
        course.step()
    return rates


def test_with_time_enough_the_rate_falls_in_equal_parts_whatever_the_clock_says() -> None:
    clock = Clock(100.0)
    course = Course(20, clock)
    rates = run(course, clock, 0.5, first=30.0)
    assert rates == [pytest.approx(1 - i / 20) for i in range(20)] and not course.was_cut


def test_too_many_steps_are_cut_once_to_what_there_is_time_for() -> None:
    clock = Clock(30.0)
    course = Course(1000, clock)
    rates = run(course, clock, 1.0)
    assert course.was_cut and len(rates) == course.steps == pytest.approx(31, abs=2)
    assert rates[-1] < 0.06 and clock.left > -2


def test_a_machine_that_slows_down_later_is_stopped_with_little_grace() -> None:
    clock = Clock(30.0)
    course = Course(1000, clock)
    while not course.is_over:
        clock.left -= 0.1 if course.made < 15 else 5.0
        course.step()
    assert course.made < 30 and clock.left > -10


def test_without_any_time_a_few_steps_are_made() -> None:
    clock = Clock(-1.0)
    course = Course(1000, clock)
    run(course, clock, 1.0)
    assert 1 <= course.made <= 11
