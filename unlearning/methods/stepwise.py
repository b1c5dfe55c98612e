"""The loop that the influence updates share: differentiate, propose a step, score it, keep the best."""

from __future__ import annotations

import abc
import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from unlearning.errors import invalid
from unlearning.influence.problem import FeatureSettings, InfluenceProblem
from unlearning.methods.base import Method, conclude
from unlearning.task import OutcomeStatus, SolveReport, UnlearningOutcome, UnlearningTask


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


@dataclasses.dataclass(frozen=True)
class StepwiseUpdate(FeatureSettings, Method):
    """Base of the influence updates.

    Attributes:
        steps: Most steps; each uses the corrected objective's gradient at the current parameters (see
            `unlearning.influence.problem`).
        rows: `"flagged"` differentiates the flagged rows. `"errors"` is the published code's choice: up to `error_rows`
            training rows that the model gets wrong, corrected label against the model's own prediction.
        error_rows: Rows a step with `rows="errors"`.
    """

    steps: int = 1
    rows: Literal["flagged", "errors"] = "flagged"
    error_rows: int = 512

    def __post_init__(self) -> None:
        for name in ("steps", "error_rows"):
            if getattr(self, name) < 1:
                raise invalid(name, "a positive integer", getattr(self, name))

    @abc.abstractmethod
    def _prepare(self, problem: InfluenceProblem, rng: np.random.Generator) -> Propose:
        """Returns the function that proposes steps for a problem."""

    def _is_over(self, steps_without_gain: int) -> bool:
        """Whether to stop before all steps are taken."""
        return False

    def unlearn(self, model: keras.Model, task: UnlearningTask) -> UnlearningOutcome:
        """See `Method.unlearn`."""
        started = time.perf_counter()
        problem = InfluenceProblem(model, task, self)
        if not len(task.corrections):
            return conclude(model, None, task, started=started, work=problem.work, status=OutcomeStatus.NOTHING_FLAGGED)
        rng = np.random.default_rng(task.seed)
        propose = self._prepare(problem, rng)
        current = best = problem.initial
        best_accuracy = problem.validation_accuracy(current)
        history: list[dict[str, Any]] = [
            {"step": 0, "validation_accuracy": best_accuracy, "seconds": time.perf_counter() - started}
        ]
        solves: list[SolveReport] = []
        solver_log: list[dict[str, Any]] = []
        status, without_gain = None, 0
        for number in range(1, self.steps + 1):
            gradient = self._summed_gradient(problem, current, rng)
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
            history.append({"step": number, "validation_accuracy": step.accuracy, "seconds": seconds, **step.log})
            without_gain = 0 if step.accuracy > best_accuracy else without_gain + 1
            if step.accuracy > best_accuracy:
                best, best_accuracy = current, step.accuracy
            if self._is_over(without_gain):
                break
        return conclude(
            model,
            None if best is problem.initial else problem.head.repaired(best),
            task,
            started=started,
            work=problem.work,
            history=history,
            solves=solves,
            solver_log=solver_log,
            status=status,
        )

    def _summed_gradient(
        self, problem: InfluenceProblem, parameters: tf.Tensor, rng: np.random.Generator
    ) -> tf.Tensor | None:
        """Returns the summed gradient difference that drives one step; None when there is no error to learn from."""
        if self.rows == "flagged":
            return len(problem.task.train) * problem.right_hand_side(parameters)
        predictions = problem.training_predictions(parameters)
        wrong = np.flatnonzero(predictions != problem.corrected_labels)
        if not len(wrong):
            return None
        chosen = rng.choice(wrong, size=min(self.error_rows, len(wrong)), replace=False)
        objective = problem.errors_objective(chosen, predictions[chosen])
        problem.count(gradient_rows=objective.rows)
        return objective.gradient(parameters)
