"""A damped Newton step: one solve for all dampings, then damping and step length chosen on the validation rows."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from unlearning.influence.conjugate_gradients import ConjugateGradient
from unlearning.influence.kronecker import Block, KroneckerFactors, largest_eigenvalue, solve_blocks
from unlearning.influence.objective import Objective
from unlearning.influence.problem import InfluenceProblem
from unlearning.influence.settings import CurvatureSettings
from unlearning.influence.solutions import Solution
from unlearning.influence.solvers import Lissa, estimate_lambda_max, solve_dense
from unlearning.influence.steps import Propose, Step
from unlearning.task import SolveReport, SolveStatus

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
        prepare = kronecker_solve if settings.solver == "kronecker" else damped_solve
        solve, lengths = prepare(problem, settings, rng), sorted(settings.step_lengths)

    def propose(current: tf.Tensor, gradient: tf.Tensor, best_accuracy: float) -> Step:
        return _choose(problem, current, solve(current, gradient), lengths)

    return propose


def _curvature_rows(problem: InfluenceProblem, settings: CurvatureSettings, rng: np.random.Generator) -> Objective:
    """The objective over the rows that the curvature is made of."""
    total, wanted = len(problem.task.train), settings.curvature_rows
    sampled = wanted is not None and wanted < total
    chosen = np.sort(rng.choice(total, wanted, replace=False)) if sampled else np.arange(total)
    return problem.corrected_subset(chosen, smoothing=settings.smoothing)


def kronecker_solve(problem: InfluenceProblem, settings: CurvatureSettings, rng: np.random.Generator) -> Solve:
    """Returns a function that solves with Kronecker factors, measured once; arguments as for `newton_steps`."""
    objective = _curvature_rows(problem, settings, rng)
    factors = KroneckerFactors(objective, settings.curvature, rng)
    total = len(problem.task.train)
    known: list[tuple[list[Block], float]] = []  # measured at the first step, and kept for all

    def solve(parameters: tf.Tensor, gradient: tf.Tensor) -> Solution:
        if not known:
            measured = factors.measure(parameters)
            known.append((measured, _positive(largest_eigenvalue(measured))))
            problem.count(curvature_rows=factors.passes * objective.rows)
        ((blocks, largest),) = known
        solvable = bool(np.isfinite(largest) and tf.reduce_all(tf.math.is_finite(gradient)))
        vectors, reports = [], []
        for share in settings.dampings:
            vector = tf.zeros_like(gradient)
            if solvable:
                vector = solve_blocks(problem.head, blocks, gradient / total, share * largest)
            finite = solvable and bool(tf.reduce_all(tf.math.is_finite(vector)))
            vectors.append(vector)
            reports.append(
                SolveReport(
                    solver="kronecker",
                    status=SolveStatus.CONVERGED if finite else SolveStatus.NON_FINITE,
                    iterations=1,
                    relative_residual=0.0,
                    damping=share * largest,
                    lambda_max=largest,
                    negative_curvature=False,
                    matvecs=0,
                )
            )
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
    bound = conjugate.bind(product) if settings.solver == "cg" else None
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
            accuracy = problem.validation_accuracy(candidate)
            if accuracy > best.accuracy:
                best = Step(candidate, accuracy, {"damping": report.damping, "step_length": length})
    return dataclasses.replace(best, solves=solution.reports, solver_log=solution.log)
