"""First-order influence update: one step along the gradient difference of the flagged rows.

    theta' = theta - tau * sum_flagged [grad l(z~, theta) - grad l(z, theta)]

Warnecke, Pirch, Wressnegger and Rieck, "Machine Unlearning of Features and Labels", NDSS 2023, eq. for the first-order
update. The published code fixes `tau` at 2e-5; here the step length is searched on the validation rows by default,
because one fixed value is far from the optimum for most models.

Example:
    >>> from unlearning.methods.first_order import FirstOrder
    >>> outcome = FirstOrder().unlearn(model, task)  # doctest: +SKIP
"""

from __future__ import annotations

import dataclasses
import time
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from unlearning.errors import invalid
from unlearning.influence.problem import FeatureSettings, InfluenceProblem
from unlearning.methods.base import Method, conclude
from unlearning.task import OutcomeStatus, UnlearningOutcome, UnlearningTask

_SMALLEST, _LARGEST = -14.0, 4.0  # powers of two of the relative step length |change| / |parameters|
_COLLAPSE = 0.05  # validation accuracy lost below the best so far, thrice in a row, that ends the outward search


@dataclasses.dataclass(frozen=True)
class FirstOrder(FeatureSettings, Method):
    """The first-order update, and its repetition.

    Attributes:
        steps: Steps; each uses the corrected objective's gradient at the current parameters (see
            `unlearning.influence.problem`).
        tau: Step length on the *summed* gradient difference; None searches it on validation at each step.
        rows: `"flagged"` differentiates the flagged rows. `"errors"` is the published code's choice: up to `error_rows`
            training rows that the model gets wrong, corrected label against the model's own prediction.
        error_rows: Rows a step with `rows="errors"`.
    """

    steps: int = 1
    tau: float | None = None
    rows: Literal["flagged", "errors"] = "flagged"
    error_rows: int = 512

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise invalid("steps", "a positive integer", self.steps)
        if self.tau is not None and not self.tau > 0:
            raise invalid("tau", "a positive float, or null to search it", self.tau)
        if self.error_rows < 1:
            raise invalid("error_rows", "a positive integer", self.error_rows)

    def unlearn(self, model: keras.Model, task: UnlearningTask) -> UnlearningOutcome:
        """See `Method.unlearn`."""
        started = time.perf_counter()
        problem = InfluenceProblem(model, task, self)
        if not len(task.corrections):
            return conclude(model, None, task, started=started, work=problem.work, status=OutcomeStatus.NOTHING_FLAGGED)
        rng = np.random.default_rng(task.seed)
        current = best = problem.initial
        best_accuracy = problem.validation_accuracy(current)
        history: list[dict[str, Any]] = [
            {"step": 0, "validation_accuracy": best_accuracy, "tau": 0.0, "seconds": time.perf_counter() - started}
        ]
        status = None
        for step in range(1, self.steps + 1):
            gradient = summed_gradient(problem, current, self.rows, self.error_rows, rng)
            if gradient is None or not bool(tf.reduce_any(gradient != 0)):
                break
            if not bool(tf.reduce_all(tf.math.is_finite(gradient))):
                status = OutcomeStatus.NON_FINITE
                break
            tau = self.tau if self.tau is not None else _search(problem, current, gradient, best_accuracy)
            if tau is None:
                break
            current = current - tau * gradient
            score = problem.validation_accuracy(current)
            history.append(
                {"step": step, "validation_accuracy": score, "tau": tau, "seconds": time.perf_counter() - started}
            )
            if score > best_accuracy:
                best, best_accuracy = current, score
        proposal = None if best is problem.initial else problem.head.repaired(best)
        return conclude(model, proposal, task, started=started, work=problem.work, history=history, status=status)


def summed_gradient(
    problem: InfluenceProblem,
    parameters: tf.Tensor,
    rows: Literal["flagged", "errors"],
    error_rows: int,
    rng: np.random.Generator,
) -> tf.Tensor | None:
    """Returns the summed gradient difference that drives one step, shape `(size,)`.

    Args:
        problem: The task.
        parameters: Where to differentiate.
        rows: Which rows (see `FirstOrder.rows`).
        error_rows: Most rows with `rows="errors"`.
        rng: Draws them.

    Returns:
        The vector, or None when the model makes no error to learn from.
    """
    if rows == "flagged":
        return len(problem.task.train) * problem.right_hand_side(parameters)
    predictions = problem.training_predictions(parameters)
    wrong = np.flatnonzero(predictions != problem.corrected_labels)
    if not len(wrong):
        return None
    chosen = rng.choice(wrong, size=min(error_rows, len(wrong)), replace=False)
    objective = problem.errors_objective(chosen, predictions[chosen])
    problem.count(gradient_rows=objective.rows)
    return objective.gradient(parameters)


def _search(problem: InfluenceProblem, start: tf.Tensor, gradient: tf.Tensor, floor: float) -> float | None:
    """Finds the step length with the highest validation accuracy: outward by doubling, then inward by quarters.

    Returns:
        The smallest among the best step lengths, or None if none beats `floor`.
    """
    unit = float(tf.norm(start) / tf.norm(gradient))
    scores: dict[float, float] = {}

    def score(power: float) -> float:
        if power not in scores:
            scores[power] = problem.validation_accuracy(start - unit * 2.0**power * gradient)
        return scores[power]

    best, falls = floor, 0
    for power in np.arange(_SMALLEST, _LARGEST + 1):
        value = score(float(power))
        best = max(best, value)
        falls = falls + 1 if value < best - _COLLAPSE else 0
        if falls == 3:
            break
    for width in (0.5, 0.25):
        centre = min(p for p, s in scores.items() if s == max(scores.values()))
        score(centre - width)
        score(centre + width)
    chosen = min(p for p, s in scores.items() if s == max(scores.values()))
    return unit * 2.0**chosen if scores[chosen] > floor else None
