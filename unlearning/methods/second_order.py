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
    >>> outcome = SecondOrder(steps=3, trainable_from="dense_1").unlearn(model, task)  # doctest: +SKIP
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from typing import Literal

import numpy as np
import tensorflow as tf

from unlearning.errors import invalid
from unlearning.influence.objective import Curvature
from unlearning.influence.problem import InfluenceProblem
from unlearning.influence.solvers import ConjugateGradient, Lissa, Solution, estimate_lambda_max, solve_dense
from unlearning.methods.stepwise import Propose, Step, StepwiseUpdate
from unlearning.task import SolveStatus

logger = logging.getLogger(__name__)

_BAD = (SolveStatus.DIVERGED, SolveStatus.NON_FINITE)


@dataclasses.dataclass(frozen=True)
class SecondOrder(StepwiseUpdate):
    """The second-order update, and its repetition.

    Attributes:
        steps: Most steps; the loop ends earlier when `patience` steps in a row bring nothing on validation.
        patience: See `steps`.
        solver: `"cg"`, `"lissa"` (published recursion and constants), or `"dense"` (exact, small heads).
        curvature: `"gauss-newton"` or `"hessian"`.
        curvature_rows: Size of the random subset of training rows from which the curvature is built; None for all.
            The gradient always uses all rows.
        smoothing: Share of the uniform distribution in the probabilities of the Gauss-Newton matrix; 0 is the plain
            matrix (see `unlearning.influence.objective` for why that fails on memorised rows).
        dampings: Shares of the largest eigenvalue to try (`cg`, `dense`).
        step_lengths: Multiples of the solution to try (`cg`, `dense`).
        cg_iterations: Most products a solve.
        cg_rtol: Relative residual of the least damped system at which a solve ends.
        power_iterations: Products spent on the largest eigenvalue, once.
        lissa_scale: See `Lissa`.
        lissa_damping: See `Lissa`.
        lissa_batch_rows: See `Lissa`.
        lissa_patience: See `Lissa`.
        lissa_iterations: Upper limit on the recursion; None as published.
    """

    steps: int = 6
    error_rows: int = 1024
    patience: int = 2
    solver: Literal["cg", "lissa", "dense"] = "cg"
    curvature: Curvature = "gauss-newton"
    curvature_rows: int | None = 4096
    smoothing: float = 0.1
    dampings: tuple[float, ...] = (0.1, 0.03, 0.01, 0.003, 0.001)
    step_lengths: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
    cg_iterations: int = 20
    cg_rtol: float = 1e-3
    power_iterations: int = 10
    lissa_scale: float = 2e5
    lissa_damping: float = 1e-4
    lissa_batch_rows: int = 1024
    lissa_patience: int = 20
    lissa_iterations: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("patience", "cg_iterations", "power_iterations"):
            if getattr(self, name) < 1:
                raise invalid(name, "a positive integer", getattr(self, name))
        if self.curvature_rows is not None and self.curvature_rows < 1:
            raise invalid("curvature_rows", "a positive integer, or null for all rows", self.curvature_rows)
        if not 0 <= self.smoothing <= 1:
            raise invalid("smoothing", "a float in [0, 1]", self.smoothing)
        for name in ("dampings", "step_lengths"):
            values = getattr(self, name)
            if not values or min(values) <= 0:
                raise invalid(name, "a non-empty list of positive floats", values)

    def _is_over(self, steps_without_gain: int) -> bool:
        # The published schedule runs all of its steps; stopping early is ours.
        return steps_without_gain >= self.patience and self.rows == "flagged"

    def _prepare(self, problem: InfluenceProblem, rng: np.random.Generator) -> Propose:
        solve = self._solver(problem, rng)

        def propose(current: tf.Tensor, gradient: tf.Tensor, best_accuracy: float) -> Step:
            return self._choose(problem, current, solve(current, gradient))

        return propose

    def _solver(
        self, problem: InfluenceProblem, rng: np.random.Generator
    ) -> Callable[[tf.Tensor, tf.Tensor], Solution]:
        """Returns a function from parameters and the summed gradient difference to solutions."""
        total = len(problem.task.train)
        if self.solver == "lissa":
            lissa = Lissa(
                self.lissa_scale, self.lissa_damping, self.lissa_batch_rows, self.lissa_patience, self.lissa_iterations
            )
            # Without the cache a residual costs as much as the recursion itself, which would falsify its timing.
            recursion = lissa.bind(problem.corrected, int(rng.integers(2**31)), measure_residual=self.cache_features)

            def solve_lissa(parameters: tf.Tensor, gradient: tf.Tensor) -> Solution:
                solution = recursion(parameters, gradient)
                problem.count(curvature_rows=solution.reports[0].matvecs * min(self.lissa_batch_rows, total))
                return solution

            return solve_lissa

        sampled = self.curvature_rows is not None and self.curvature_rows < total
        chosen = np.sort(rng.choice(total, self.curvature_rows, replace=False)) if sampled else np.arange(total)
        objective = problem.corrected_subset(chosen, smoothing=self.smoothing)
        product = objective.product(self.curvature)
        bound = ConjugateGradient(self.cg_rtol, self.cg_iterations).bind(product) if self.solver == "cg" else None
        power = estimate_lambda_max(
            product, problem.head.size, problem.head.dtype, iterations=self.power_iterations, seed=problem.task.seed
        )
        known: list[float] = []  # the eigenvalue only scales the damping grid, so one estimate serves every step

        def solve(parameters: tf.Tensor, gradient: tf.Tensor) -> Solution:
            extra = 0
            if not known:
                known.append(power(parameters))
                extra = self.power_iterations
            largest = max(known[0], 1e-30)  # a vanishing curvature must not make the dampings equal
            dampings = [share * largest for share in self.dampings]
            mean_gradient = gradient / total  # the curvature is a mean over rows, so its right-hand side is one too
            if bound is not None:
                solution = bound(parameters, mean_gradient, dampings, lambda_max=known[0], extra_matvecs=extra)
            else:
                solution = solve_dense(product, parameters, mean_gradient, dampings)
            problem.count(curvature_rows=sum(report.matvecs for report in solution.reports) * objective.rows)
            return solution

        return solve

    def _choose(self, problem: InfluenceProblem, current: tf.Tensor, solution: Solution) -> Step:
        """Scores every damping and step length on validation; ties go to the more cautious candidate."""
        lengths = (1.0,) if self.solver == "lissa" else tuple(sorted(self.step_lengths))
        best = Step(None, -1.0, {}, failed=True)
        for position in sorted(range(len(solution.reports)), key=lambda i: -solution.reports[i].damping):
            report = solution.reports[position]
            if report.status in _BAD:
                logger.warning("The %s solve ended as %s; its step is not taken.", report.solver, report.status)
                continue
            for length in lengths:
                candidate = current - length * solution.vectors[position]
                accuracy = problem.validation_accuracy(candidate)
                if accuracy > best.accuracy:
                    best = Step(candidate, accuracy, {"damping": report.damping, "step_length": length})
        return dataclasses.replace(best, solves=solution.reports, solver_log=solution.log)
