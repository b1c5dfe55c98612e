"""A damped Newton step: one solve for all dampings, then damping and step length chosen on the validation rows."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from unlearning.influence.conjugate_gradients import ConjugateGradient
from unlearning.influence.kronecker import Block, BlockSolver, KroneckerFactors, has_factors, largest_eigenvalue
from unlearning.influence.objective import Objective
from unlearning.influence.preconditioned import PreconditionedGradient
from unlearning.influence.problem import InfluenceProblem
from unlearning.influence.settings import Curvature, CurvatureSettings
from unlearning.influence.solutions import Solution
from unlearning.influence.solvers import Lissa, estimate_lambda_max, solve_dense
from unlearning.influence.steps import Propose, Step
from unlearning.task import REMOVED, SolveReport, SolveStatus

logger = logging.getLogger(__name__)

Solve = Callable[[tf.Tensor, tf.Tensor], Solution]
"""From parameters and the summed gradient difference there to solutions."""

_BAD = (SolveStatus.DIVERGED, SolveStatus.NON_FINITE)


def newton_steps(
    problem: InfluenceProblem, settings: CurvatureSettings, rng: np.random.Generator, *, measure_residual: bool
) -> Propose:
    """Returns a function that proposes steps `theta - s (A + damping I)^-1 r`.

    Args:
        problem: The problem.
        settings: What `A` is, and how it is inverted.
        rng: Draws the rows of the curvature, and the order in which LiSSA sees them.
        measure_residual: See `Lissa.bind`.
    """
    if settings.solver == "lissa":
        solve, lengths = _lissa(problem, settings, rng, measure_residual), [1.0]
    else:
        solver = settings.solver
        if solver.startswith("kronecker") and not has_factors(problem.head):
            logger.info("No layer that may move has Kronecker factors; conjugate gradients solve instead.")
            solver = "cg"
        prepare = _PREPARE.get(solver, damped_solve)
        solve, lengths = prepare(problem, settings, rng), sorted(settings.step_lengths)

    def propose(current: tf.Tensor, gradient: tf.Tensor, best_accuracy: float) -> Step:
        return _choose(problem, current, solve(current, gradient), lengths)

    return propose


def _curvature_rows(problem: InfluenceProblem, settings: CurvatureSettings, rng: np.random.Generator) -> Objective:
    """The objective over the rows that the curvature is made of."""
    rows, wanted = np.arange(len(problem.task.train)), settings.curvature_rows
    if settings.curvature_from == "flagged":
        flagged = problem.task.corrections
        staying = flagged.rows[flagged.labels != REMOVED]
        rows = staying if len(staying) else rows  # of removed rows alone nothing stays to resist the step
    if settings.curvature_from != "all" and wanted is not None and wanted < len(rows):
        rows = rng.choice(rows, wanted, replace=False)
    return problem.corrected_subset(np.sort(rows), smoothing=settings.smoothing)


class _Factors:
    """Kronecker factors of a problem, measured at the first step and kept for all."""

    def __init__(self, problem: InfluenceProblem, objective: Objective, curvature: Curvature, rng: Any) -> None:
        self._problem, self._rows = problem, objective.rows
        self._factors = KroneckerFactors(objective, curvature, rng)
        self._known: tuple[list[Block], float] | None = None

    def at(self, parameters: tf.Tensor) -> tuple[list[Block], float]:
        """The blocks and their largest eigenvalue."""
        if self._known is None:
            blocks = self._factors.measure(parameters)
            self._known = blocks, _positive(largest_eigenvalue(blocks))
            self._problem.count(curvature_rows=self._factors.passes * self._rows)
        return self._known


def kronecker_solve(problem: InfluenceProblem, settings: CurvatureSettings, rng: np.random.Generator) -> Solve:
    """Returns a function that solves with Kronecker factors; arguments as for `newton_steps`."""
    factors = _Factors(problem, _curvature_rows(problem, settings, rng), settings.curvature, rng)
    solvers: dict[float, BlockSolver] = {}

    def solve(parameters: tf.Tensor, gradient: tf.Tensor) -> Solution:
        blocks, largest = factors.at(parameters)
        solvable = bool(np.isfinite(largest) and tf.reduce_all(tf.math.is_finite(gradient)))
        vectors, reports = [], []
        for damping in (share * largest for share in settings.dampings):
            vector = tf.zeros_like(gradient)
            if solvable:
                if damping not in solvers:
                    solvers[damping] = BlockSolver(problem.head, blocks, damping)
                vector = solvers[damping](gradient / len(problem.task.train))
            finite = solvable and bool(tf.reduce_all(tf.math.is_finite(vector)))
            vectors.append(vector)
            status = SolveStatus.CONVERGED if finite else SolveStatus.NON_FINITE
            reports.append(SolveReport("kronecker", status, 1, 0.0, damping, largest, False, 0))
        return Solution(tf.stack(vectors), reports, [])

    return solve


def preconditioned_solve(problem: InfluenceProblem, settings: CurvatureSettings, rng: np.random.Generator) -> Solve:
    """Returns a function that solves by preconditioned conjugate gradients; arguments as for `newton_steps`.

    The preconditioner is the damped system of Kronecker factors, of the bound where the curvature has none of its own;
    parameters that have no factors are divided by the damping.
    """
    objective = _curvature_rows(problem, settings, rng)
    kind: Curvature = "bound" if settings.curvature == "hessian" else settings.curvature
    factors = _Factors(problem, objective, kind, rng)
    product = tf.function(objective.product(settings.curvature), autograph=False)
    conjugate = PreconditionedGradient(settings.cg_rtol, settings.cg_iterations)

    def solve(parameters: tf.Tensor, gradient: tf.Tensor) -> Solution:
        blocks, largest = factors.at(parameters)
        vectors, reports = [], []
        if not (np.isfinite(largest) and tf.reduce_all(tf.math.is_finite(gradient))):
            reports = [
                SolveReport("kronecker-cg", SolveStatus.NON_FINITE, 0, float("inf"), largest, largest, False, 0)
                for _ in settings.dampings
            ]
            return Solution(tf.zeros([len(reports), len(gradient)], gradient.dtype), reports, [])
        for damping in (share * largest for share in settings.dampings):
            precondition = BlockSolver(problem.head, blocks, damping, others=1 / damping)
            vector, report = conjugate.solve(
                lambda v: product(parameters, v), precondition, gradient / len(problem.task.train), damping
            )
            vectors.append(vector)
            reports.append(dataclasses.replace(report, lambda_max=largest))
        problem.count(curvature_rows=sum(report.matvecs for report in reports) * objective.rows)
        return Solution(tf.stack(vectors), reports, [])

    return solve


def _positive(eigenvalue: float) -> float:
    """A largest eigenvalue to scale dampings by: where the curvature vanishes they must not all be 0. NaN stays."""
    return 1e-30 if eigenvalue < 1e-30 else eigenvalue


def _lissa(
    problem: InfluenceProblem, settings: CurvatureSettings, rng: np.random.Generator, measure_residual: bool
) -> Solve:
    lissa = Lissa(
        settings.lissa_scale,
        settings.lissa_damping,
        settings.lissa_batch_rows,
        settings.lissa_patience,
        settings.lissa_iterations,
    )
    recursion = lissa.bind(problem.corrected, int(rng.integers(2**31)), measure_residual=measure_residual)

    def solve(parameters: tf.Tensor, gradient: tf.Tensor) -> Solution:
        solution = recursion(parameters, gradient)
        rows = min(settings.lissa_batch_rows, len(problem.task.train))
        problem.count(curvature_rows=solution.reports[0].matvecs * rows)
        return solution

    return solve


def damped_solve(problem: InfluenceProblem, settings: CurvatureSettings, rng: np.random.Generator) -> Solve:
    """Returns a function that solves for all dampings at once; arguments as for `newton_steps`."""
    total, objective = len(problem.task.train), _curvature_rows(problem, settings, rng)
    product = objective.product(settings.curvature)
    conjugate = ConjugateGradient(settings.cg_rtol, settings.cg_iterations)
    bound = None if settings.solver == "dense" else conjugate.bind(product)
    power = estimate_lambda_max(
        product, problem.head.size, problem.head.dtype, iterations=settings.power_iterations, seed=problem.task.seed
    )
    known: list[float] = []  # the eigenvalue only scales the damping grid, so one estimate serves every step

    def solve(parameters: tf.Tensor, gradient: tf.Tensor) -> Solution:
        extra = 0
        if not known:
            known.append(power(parameters))
            extra = settings.power_iterations
        largest = _positive(known[0])
        dampings = [share * largest for share in settings.dampings]
        mean_gradient = gradient / total  # the curvature is a mean over rows, so its right-hand side is one too
        if bound is not None:
            solution = bound(parameters, mean_gradient, dampings, lambda_max=known[0], extra_matvecs=extra)
        else:
            solution = solve_dense(product, parameters, mean_gradient, dampings)
        problem.count(curvature_rows=sum(report.matvecs for report in solution.reports) * objective.rows)
        return solution

    return solve


def _choose(problem: InfluenceProblem, current: tf.Tensor, solution: Solution, lengths: Sequence[float]) -> Step:
    """Scores every damping and step length on validation; ties go to the more cautious candidate."""
    best = Step(None, -1.0, {}, failed=True)
    for position in sorted(range(len(solution.reports)), key=lambda i: -solution.reports[i].damping):
        report = solution.reports[position]
        if report.status in _BAD:
            logger.warning("The %s solve ended as %s; its step is not taken.", report.solver, report.status)
            continue
        for length in lengths:
            candidate = current - length * solution.vectors[position]
            accuracy = problem.validation_score(candidate)
            if accuracy > best.accuracy:
                best = Step(candidate, accuracy, {"damping": report.damping, "step_length": length})
    return dataclasses.replace(best, solves=solution.reports, solver_log=solution.log)


_PREPARE: dict[str, Callable[[InfluenceProblem, CurvatureSettings, np.random.Generator], Solve]] = {
    "kronecker": kronecker_solve,
    "kronecker-cg": preconditioned_solve,
}
