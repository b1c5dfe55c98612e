"""The length of a first-order step, where validation accuracy is a known function of that length."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from unlearning.influence.line_search import gradient_steps, search_length

START, GRADIENT = tf.constant([3.0, 4.0], tf.float64), tf.constant([0.0, 2.0], tf.float64)
UNIT = 2.5
"""The length at which the change is as long as the parameters."""


def searched(accuracy: Callable[[float], float], floor: float = 0.0) -> tuple[float | None, list[float]]:
    """Searches; returns the power of two of the length found, and those asked about, in order."""
    asked: list[float] = []

    def validation_score(candidate: tf.Tensor) -> float:
        asked.append(round(float(np.log2(tf.norm(START - candidate) / tf.norm(START))), 6))
        return accuracy(asked[-1])

    problem = SimpleNamespace(validation_score=validation_score)
    length = search_length(problem, START, GRADIENT, floor)
    return None if length is None else round(float(np.log2(length / UNIT)), 6), asked


def test_it_doubles_and_then_halves_the_distance_around_the_best() -> None:
    found, asked = searched(lambda power: 0.9 - 0.01 * abs(power + 3.2))
    assert asked == [*range(-14, 5), -3.5, -2.5, -3.25, -2.75] and found == -3.25


@pytest.mark.parametrize(
    ("accuracy", "best"),
    [
        (lambda power: 0.8 if -5 <= power <= -2 else 0.78, -5),
        (lambda power: 0.7 + 0.001 * power, 4.75),
        (lambda power: 0.7 - 0.001 * power, -14.75),
        (lambda power: 0.7, -14.75),
    ],
)
def test_the_smallest_of_the_best_lengths_is_taken(accuracy: Callable[[float], float], best: float) -> None:
    assert searched(accuracy)[0] == best


@pytest.mark.parametrize(("floor", "best"), [(0.69, -14.75), (0.7, None), (0.71, None)])
def test_the_floor_is_to_be_beaten(floor: float, best: float | None) -> None:
    assert searched(lambda power: 0.7, floor)[0] == best


@pytest.mark.parametrize(
    ("low", "last", "best"),
    [
        ((-9, -8, -7), -7, -10),  # three collapses in a row: nothing is looked for behind them
        ((-9, -8, -6, -5), -1, -4),  # two, twice; then three behind the best
        ((-13, -9, -7), -1, -4),
    ],
)
def test_only_three_collapses_in_a_row_end_the_way_outward(low: tuple[int, ...], last: int, best: int) -> None:
    values = {-10: 0.9, -4: 0.95, **dict.fromkeys(low, 0.84)}
    found, asked = searched(lambda power: values.get(power, 0.86))
    assert max(asked) == last and found == best


def test_what_lies_below_the_floor_has_collapsed_from_the_start() -> None:
    assert searched(lambda power: 0.8 if power < -11 else 1.0, floor=0.9) == (
        None,
        [-14, -13, -12, -14.5, -13.5, -14.75, -14.25],
    )


def test_a_given_length_is_taken_whatever_it_brings() -> None:
    asked: list[np.ndarray] = []
    problem = SimpleNamespace(validation_score=lambda candidate: asked.append(candidate.numpy()) or 0.25)
    step = gradient_steps(problem, 0.5)(START, GRADIENT, 0.9)
    np.testing.assert_array_equal(step.parameters, [3.0, 3.0])
    assert (step.accuracy, step.log) == (0.25, {"tau": 0.5}) and len(asked) == 1


def test_a_searched_length_is_taken_where_it_beats_the_best() -> None:
    problem = SimpleNamespace(validation_score=lambda candidate: 0.8 if abs(candidate[1]) < 1e-6 else 0.5)
    step = gradient_steps(problem, None)(START, GRADIENT, 0.5)
    assert step.parameters is None and step.accuracy == 0.5 and step.log == {}
    problem = SimpleNamespace(validation_score=lambda candidate: 0.8 if candidate[1] < 3 else 0.58)
    step = gradient_steps(problem, None)(START, GRADIENT, 0.6)
    np.testing.assert_allclose(step.parameters, START - step.log["tau"] * GRADIENT)
    assert step.accuracy == 0.8 and float(step.parameters[1]) < 3
