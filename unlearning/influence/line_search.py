"""The length of a first-order step, searched on the validation rows."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from unlearning.influence.problem import InfluenceProblem
from unlearning.influence.steps import Propose, Step

_SMALLEST, _LARGEST = -14.0, 4.0  # powers of two of the relative step length |change| / |parameters|
_COLLAPSE = 0.05  # validation accuracy lost below the best so far, thrice in a row, that ends the outward search


def gradient_steps(problem: InfluenceProblem, tau: float | None) -> Propose:
    """Returns a function that proposes steps `theta - tau g`.

    Args:
        problem: The problem.
        tau: Step length on the *summed* gradient difference; None searches it at each step.
    """

    def propose(current: tf.Tensor, gradient: tf.Tensor, best_accuracy: float) -> Step:
        length = tau if tau is not None else search_length(problem, current, gradient, best_accuracy)
        if length is None:
            return Step(None, best_accuracy, {})
        candidate = current - length * gradient
        return Step(candidate, problem.validation_score(candidate), {"tau": length})

    return propose


def search_length(problem: InfluenceProblem, start: tf.Tensor, gradient: tf.Tensor, floor: float) -> float | None:
    """Finds the step length with the highest validation accuracy: outward by doubling, then inward by quarters.

    Args:
        problem: The problem.
        start: Parameters, shape `(size,)`.
        gradient: Direction of the step, shape `(size,)`.
        floor: Accuracy to beat.

    Returns:
        The smallest among the best step lengths, or None if none beats `floor`.
    """
    unit = float(tf.norm(start) / tf.norm(gradient))
    scores: dict[float, float] = {}

    def score(power: float) -> float:
        if power not in scores:
            scores[power] = problem.validation_score(start - unit * 2.0**power * gradient)
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
