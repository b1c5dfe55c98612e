"""Second-order influence update: a damped Newton step towards the corrected past.

    theta' = theta - s (A + damping I)^-1 r(theta)

Warnecke, Pirch, Wressnegger and Rieck, NDSS 2023, with `A` the Hessian, the step `s = 1`, and `r` the gradient
difference. What differs from the published code, each for a measured reason:

1. *The curvature is a bound.* With `p` the output probabilities, a row's Gauss-Newton matrix is `J' (diag p - p p') J`.
   A model that has memorised a wrong label answers it with `p` near one-hot: there the gradient of the corrected label
   is as large as it can be, and the curvature next to nothing, so that the quadratic model promises a gain without end
   and no damping fits both these rows and the others. `diag p - p p'` never exceeds `1/2 (I - 11'/K)` (Boehning 1992),
   and `J' 1/2 (I - 11'/K) J` stands in for it: a majoriser of the loss of a linear head, with which no step of length
   one runs away, and the same at every row, memorised or not. It is too large elsewhere, which `s > 1` makes up for.
2. *It is inverted in factors*, layer by layer (Martens and Grosse 2015; Grosse and Martens 2016 for convolutions; see
   `unlearning.influence.kronecker`): two small Cholesky factorisations a damping, and no iteration. Conjugate gradients
   (`solver="cg"`) see how the layers act together, and pay for it with dozens of passes; the published stochastic
   recursion (`"lissa"`) stops on sampling noise and amounts to a long gradient step.
3. *Damping and step length are chosen together on the validation rows*; the damping is a share of the largest
   eigenvalue, over three powers of ten. Further `steps` re-linearise at the new parameters, with the factors kept.

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

    steps: Positive = 3
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
