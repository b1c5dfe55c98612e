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

import numpy as np
import tensorflow as tf

from unlearning.errors import invalid
from unlearning.influence.problem import InfluenceProblem
from unlearning.methods.stepwise import Propose, Step, StepwiseUpdate

_SMALLEST, _LARGEST = -14.0, 4.0  # powers of two of the relative step length |change| / |parameters|
_COLLAPSE = 0.05  # validation accuracy lost below the best so far, thrice in a row, that ends the outward search


@dataclasses.dataclass(frozen=True)
class FirstOrder(StepwiseUpdate):
    """The first-order update, and its repetition.

    Attributes:
        tau: Step length on the *summed* gradient difference; None searches it on validation at each step.
    """

    tau: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tau is not None and not self.tau > 0:
            raise invalid("tau", "a positive float, or null to search it", self.tau)

    def _prepare(self, problem: InfluenceProblem, rng: np.random.Generator) -> Propose:
        def propose(current: tf.Tensor, gradient: tf.Tensor, best_accuracy: float) -> Step:
            tau = self.tau if self.tau is not None else _search(problem, current, gradient, best_accuracy)
            if tau is None:
                return Step(None, best_accuracy, {})
            candidate = current - tau * gradient
            return Step(candidate, problem.validation_accuracy(candidate), {"tau": tau})

        return propose


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
