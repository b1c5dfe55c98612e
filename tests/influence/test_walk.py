"""What a walk keeps and where it ends, on a problem of one parameter."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from unlearning.influence.steps import Step, walk
from unlearning.task import OutcomeStatus


def walking(steps: list[Step], gradients: list[float], over: list[int] | None = None):
    """Takes steps from 0.5 on, at the gradients of the problem; returns the walk and what was proposed from."""
    asked, waits, left = [], over if over is not None else [], iter(gradients)
    problem = SimpleNamespace(
        initial=tf.zeros(1),
        validation_score=lambda _: 0.5,
        task=SimpleNamespace(train=range(10), measure="accuracy"),
        right_hand_side=lambda _: tf.constant([next(left)]),
    )

    def propose(current: tf.Tensor, gradient: tf.Tensor, best: float) -> Step:
        asked.append((float(current[0]), float(gradient[0]), best))
        return steps[len(asked) - 1]

    def is_over(without_gain: int) -> bool:
        waits.append(without_gain)
        return without_gain == 2

    rng = np.random.default_rng(0)
    options = {"rows": "flagged", "error_rows": 1, "is_over": is_over, "started": 0.0}
    return walk(problem, propose, rng, steps=len(gradients), **options), asked


def to(parameter: float, accuracy: float) -> Step:
    return Step(tf.constant([parameter]), accuracy, {"length": parameter})


def test_the_best_of_all_steps_is_kept() -> None:
    waits: list[int] = []
    taken, asked = walking([to(1, 0.4), to(2, 0.7), to(3, 0.6), to(4, 0.7), to(5, 0.9)], [1.0] * 5, waits)
    assert float(taken.best[0]) == 2 and taken.status is None
    assert asked == [(0, 10, 0.5), (1, 10, 0.5), (2, 10, 0.7), (3, 10, 0.7)]  # the gradient is summed over all rows
    assert waits == [1, 0, 1, 2]
    assert [(row["step"], row["validation_accuracy"]) for row in taken.history] == [
        *((0, 0.5), (1, 0.4), (2, 0.7), (3, 0.6), (4, 0.7))
    ]


def test_no_step_that_only_equals_the_start_is_kept() -> None:
    assert walking([to(1, 0.5)], [1.0])[0].best is None


@pytest.mark.parametrize(("second", "status"), [(0.0, None), (np.nan, OutcomeStatus.NON_FINITE)])
def test_a_gradient_that_leads_nowhere_ends_it(second: float, status: OutcomeStatus | None) -> None:
    taken, asked = walking([to(1, 0.6), to(2, 0.7)], [1.0, second, 1.0])
    assert taken.status is status and len(asked) == 1 and float(taken.best[0]) == 1


@pytest.mark.parametrize(("failed", "status"), [(False, None), (True, OutcomeStatus.NON_FINITE)])
def test_no_proposal_ends_it(failed: bool, status: OutcomeStatus | None) -> None:
    nowhere = Step(None, -1.0, {}, solver_log=[{"iteration": 1}], failed=failed)
    taken, asked = walking([nowhere, to(2, 0.7)], [1.0, 1.0])
    assert taken.status is status and len(asked) == 1 and taken.best is None
    assert taken.solver_log == [{"step": 1, "iteration": 1}] and len(taken.history) == 1
