"""First-order influence update: one step along the gradient difference of the flagged rows.

    theta' = theta - tau * sum_flagged [grad l(z~, theta) - grad l(z, theta)]

Warnecke, Pirch, Wressnegger and Rieck, "Machine Unlearning of Features and Labels", NDSS 2023, eq. for the first-order
update. The published code fixes `tau` at 2e-5; here the step length is searched on the validation rows by default,
because one fixed value is far from the optimum for most models.

Example:
    >>> from unlearning.methods.first_order import FirstOrder
    >>> outcome = FirstOrder().unlearn(model, task)
    >>> outcome.validation_accuracy_after >= outcome.validation_accuracy_before
    True
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from unlearning.methods.stepwise import StepwiseUpdate
from unlearning.settings import PositiveFloat

if TYPE_CHECKING:
    from unlearning.influence.problem import InfluenceProblem
    from unlearning.influence.steps import Propose


class FirstOrder(StepwiseUpdate):
    """The first-order update, and its repetition."""

    tau: PositiveFloat | None = None
    """Step length on the *summed* gradient difference; null searches it on validation at each step."""

    def _prepare(self, problem: InfluenceProblem, rng: np.random.Generator) -> Propose:
        from unlearning.influence.line_search import gradient_steps

        return gradient_steps(problem, self.tau)
