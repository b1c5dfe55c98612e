"""The loop that the influence updates share: differentiate, propose a step, score it, keep the best."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from unlearning.influence.problem import InfluenceProblem
from unlearning.influence.settings import StepRows
from unlearning.task import OutcomeStatus, SolveReport


@dataclasses.dataclass(frozen=True, eq=False)
class Step:
    """One proposed step.

    Attributes:
        parameters: Where it leads, shape `(size,)`, or None where nothing usable came out.
        accuracy: Validation accuracy there.
        log: More columns of the step's log row.
        solves: Reports of the linear solves behind it.
        solver_log: Rows of the solver log.
        failed: Whether the solve behind it broke down.
    """

    parameters: tf.Tensor | None
    accuracy: float
    log: Mapping[str, float]
    solves: Sequence[SolveReport] = ()
    solver_log: Sequence[Mapping[str, Any]] = ()
    failed: bool = False


Propose = Callable[[tf.Tensor, tf.Tensor, float], Step]
"""From parameters, the summed gradient difference there, and the best accuracy so far, to a step."""


@dataclasses.dataclass(frozen=True, eq=False)
class Walk:
    """Several steps.

    Attributes:
        best: The best parameters, shape `(size,)`; None where no step beats the start.
        history: One mapping a step; step 0 is the start.
        solves: One report a linear solve.
        solver_log: One mapping a solver iteration.
        status: Why it ended early, where that needs saying.
    """

    best: tf.Tensor | None
    history: Sequence[dict[str, Any]]
    solves: Sequence[SolveReport]
    solver_log: Sequence[dict[str, Any]]
    status: OutcomeStatus | None


def walk(
    problem: InfluenceProblem,
    propose: Propose,
    rng: np.random.Generator,
    *,
    steps: int,
    rows: StepRows,
    error_rows: int,
    is_over: Callable[[int], bool],
    started: float,
) -> Walk:
    """Takes steps one after the other and keeps the best parameters.

    Args:
        problem: The problem, with flagged rows.
        propose: What proposes a step.
        rng: Draws the rows of `"errors"`.
        steps: Most steps.
        rows: See `summed_gradient`.
        error_rows: See `summed_gradient`.
        is_over: From the number of steps in a row without a gain, whether to stop.
        started: `time.perf_counter()` at the start of the method.

    Returns:
        What came of it.
    """
    current = best = problem.initial
    best_accuracy = problem.validation_score(current)
    scored = f"validation_{problem.task.measure}"
    history: list[dict[str, Any]] = [{"step": 0, scored: best_accuracy, "seconds": time.perf_counter() - started}]
    solves: list[SolveReport] = []
    solver_log: list[dict[str, Any]] = []
    status, without_gain = None, 0
    for number in range(1, steps + 1):
        gradient = summed_gradient(problem, current, rng, rows=rows, error_rows=error_rows)
        if gradient is None or not bool(tf.reduce_any(gradient != 0)):
            break
        if not bool(tf.reduce_all(tf.math.is_finite(gradient))):
            status = OutcomeStatus.NON_FINITE
            break
        step = propose(current, gradient, best_accuracy)
        solves.extend(step.solves)
        solver_log.extend({"step": number, **row} for row in step.solver_log)
        if step.parameters is None:
            status = OutcomeStatus.NON_FINITE if step.failed else None
            break
        current = step.parameters
        seconds = time.perf_counter() - started
        history.append({"step": number, scored: step.accuracy, "seconds": seconds, **step.log})
        without_gain = 0 if step.accuracy > best_accuracy else without_gain + 1
        if step.accuracy > best_accuracy:
            best, best_accuracy = current, step.accuracy
        if is_over(without_gain):
            break
    return Walk(None if best is problem.initial else best, history, solves, solver_log, status)


def summed_gradient(
    problem: InfluenceProblem, parameters: tf.Tensor, rng: np.random.Generator, *, rows: StepRows, error_rows: int
) -> tf.Tensor | None:
    """Returns the summed gradient difference that drives one step; None when there is no error to learn from.

    Args:
        problem: The problem, with flagged rows.
        parameters: Where to differentiate, shape `(size,)`.
        rng: Draws the rows of `"errors"`.
        rows: `"flagged"` differentiates the flagged rows. `"errors"` is the published code's choice: training rows that
            the model gets wrong, corrected label against the model's own prediction; of removed rows, the given label
            where the model still predicts it. See `InfluenceProblem.errors_objective`.
        error_rows: Most rows of `"errors"`.
    """
    if rows == "flagged":
        return len(problem.task.train) * problem.right_hand_side(parameters)
    objective = problem.errors_objective(rng, parameters, error_rows)
    if objective is None:
        return None
    problem.count(gradient_rows=objective.rows)
    return objective.gradient(parameters)
