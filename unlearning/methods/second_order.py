"""Second-order influence update: a damped Newton step towards the corrected past.

    theta' = theta - s (A + damping I)^-1 r(theta)

Warnecke, Pirch, Wressnegger and Rieck, NDSS 2023, with `A` the Hessian, the step `s = 1`, and `r` the gradient
difference. Three things differ from the published code, each for a measured reason:

1. `A` is the Gauss-Newton matrix of the corrected objective. The Hessian of a ReLU head is indefinite, and a Newton
   step along negative curvature runs away.
2. The system is solved by conjugate gradients, which converge and say how far they got; the published stochastic
   recursion (kept as `solver="lissa"`) stops on sampling noise and amounts to a long gradient step.
3. Damping is a share of the largest eigenvalue. All dampings come out of one solve, and damping and step length are
   chosen together on the validation rows. Further `steps` re-linearise at the new parameters.

Example:
    >>> from unlearning.methods.second_order import SecondOrder
    >>> outcome = SecondOrder(steps=3, trainable_from="hidden").unlearn(model, task)
    >>> outcome.validation_accuracy_after >= outcome.validation_accuracy_before
    True
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from unlearning.influence.settings import CurvatureSettings
from unlearning.methods.stepwise import StepwiseUpdate
from unlearning.settings import Positive

if TYPE_CHECKING:
    from unlearning.influence.problem import InfluenceProblem
    from unlearning.influence.steps import Propose


class SecondOrder(CurvatureSettings, StepwiseUpdate):
    """The second-order update, and its repetition."""

    steps: Positive = 6
    """Most steps; with `rows="flagged"` the loop ends earlier when `patience` steps in a row bring nothing on
    validation, with `rows="errors"`, as published, it never does: what compares the two has different numbers of
    steps."""
    error_rows: Positive = 1024
    """Rows a step with `rows="errors"`."""
    patience: Positive = 2
    """See `steps`."""

    def _is_over(self, steps_without_gain: int) -> bool:
        # The published schedule runs all of its steps; stopping early is ours.
        return steps_without_gain >= self.patience and self.rows == "flagged"

    def _prepare(self, problem: InfluenceProblem, rng: np.random.Generator) -> Propose:
        from unlearning.influence.newton import newton_steps

        # Without the cache a residual costs as much as LiSSA's recursion itself, which would falsify its timing.
        return newton_steps(problem, self, rng, measure_residual=self.cache_features)
