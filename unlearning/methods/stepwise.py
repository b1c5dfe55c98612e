"""What the influence updates share as methods; the loop itself is `unlearning.influence.steps.walk`."""

from __future__ import annotations

import abc
import time
from typing import TYPE_CHECKING

import numpy as np

from unlearning.influence.settings import FeatureSettings, StepRows
from unlearning.methods.base import Method, conclude
from unlearning.settings import Positive
from unlearning.streams import stream
from unlearning.task import OutcomeStatus, UnlearningOutcome, UnlearningTask

if TYPE_CHECKING:
    import keras

    from unlearning.influence.problem import InfluenceProblem
    from unlearning.influence.steps import Propose


class StepwiseUpdate(FeatureSettings, Method):
    """Base of the influence updates."""

    steps: Positive = 1
    """Most steps; each uses the corrected objective's gradient at the current parameters (see
    `unlearning.influence.problem`)."""
    rows: StepRows = "flagged"
    """`"flagged"` differentiates the flagged rows. `"errors"` is the published code's choice: up to `error_rows`
    training rows that the model gets wrong, corrected label against the model's own prediction."""
    error_rows: Positive = 512
    """Rows a step with `rows="errors"`."""

    @abc.abstractmethod
    def _prepare(self, problem: InfluenceProblem, rng: np.random.Generator) -> Propose:
        """Returns the function that proposes steps for a problem."""

    def _is_over(self, steps_without_gain: int) -> bool:
        """Whether to stop before all steps are taken."""
        return False

    def unlearn(self, model: keras.Model, task: UnlearningTask) -> UnlearningOutcome:
        """See `Method.unlearn`."""
        from unlearning.influence.problem import InfluenceProblem
        from unlearning.influence.steps import walk

        started = time.perf_counter()
        problem = InfluenceProblem(model, task, self)
        if not len(task.corrections):
            return conclude(model, None, task, started=started, work=problem.work, status=OutcomeStatus.NOTHING_FLAGGED)
        rng = stream(task.seed, "method", "rows")
        taken = walk(
            problem,
            self._prepare(problem, rng),
            rng,
            steps=self.steps,
            rows=self.rows,
            error_rows=self.error_rows,
            is_over=self._is_over,
            started=started,
        )
        return conclude(
            model,
            None if taken.best is None else problem.head.repaired(taken.best),
            task,
            started=started,
            work=problem.work,
            history=taken.history,
            solves=taken.solves,
            solver_log=taken.solver_log,
            status=taken.status,
        )
