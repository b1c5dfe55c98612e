"""Preconditioned conjugate gradients against NumPy's solve."""

import numpy as np
import pytest
import tensorflow as tf

from tests.support.small import poisoned_task, small_model
from unlearning.influence.newton import _curvature_rows, preconditioned_solve
from unlearning.influence.preconditioned import PreconditionedGradient
from unlearning.influence.problem import InfluenceProblem
from unlearning.influence.solvers import dense_matrix
from unlearning.methods.second_order import SecondOrder
from unlearning.task import REMOVED, Corrections, SolveStatus

RNG = np.random.default_rng(0)
SIZE = 12
ROOT = RNG.normal(size=(SIZE, SIZE)) * np.logspace(0, 2, SIZE)
MATRIX, RIGHT = ROOT @ ROOT.T, RNG.normal(size=SIZE)
DAMPING = 0.5


def times(matrix: np.ndarray):
    return lambda vector: tf.linalg.matvec(tf.constant(matrix), vector)


def run(matrix: np.ndarray, preconditioner: np.ndarray, **options):
    solver = PreconditionedGradient(**{"rtol": 1e-10, "max_iterations": 500} | options)
    return solver.solve(times(matrix), times(preconditioner), tf.constant(RIGHT), DAMPING)


class TestSolve:
    @pytest.mark.parametrize("preconditioner", [np.eye(SIZE), np.diag(1 / (np.diag(MATRIX) + DAMPING))])
    def test_it_solves_the_damped_system(self, preconditioner):
        found, report = run(MATRIX, preconditioner, rtol=1e-7)
        wanted = np.linalg.solve(MATRIX + DAMPING * np.eye(SIZE), RIGHT)
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6 * np.abs(wanted).max())
        assert report.status is SolveStatus.CONVERGED

    def test_the_inverse_itself_needs_one_step(self):
        _, report = run(MATRIX, np.linalg.inv(MATRIX + DAMPING * np.eye(SIZE)), rtol=1e-6)
        assert (report.status, report.iterations, report.matvecs) == (SolveStatus.CONVERGED, 1, 2)

    def test_the_residual_is_that_of_what_is_returned(self):
        found, report = run(MATRIX, np.eye(SIZE), max_iterations=3)
        left = RIGHT - (MATRIX + DAMPING * np.eye(SIZE)) @ found.numpy()
        assert report.status is SolveStatus.MAX_ITERATIONS and report.iterations == 3
        np.testing.assert_allclose(report.relative_residual, np.linalg.norm(left) / np.linalg.norm(RIGHT), rtol=1e-6)

    def test_negative_curvature_ends_it(self):
        found, report = run(MATRIX - 2 * MATRIX.max() * np.eye(SIZE), np.eye(SIZE))
        assert report.negative_curvature and report.status is SolveStatus.NEGATIVE_CURVATURE
        np.testing.assert_array_equal(found, 0)

    def test_what_is_not_finite_is_said(self):
        _, report = run(np.full((SIZE, SIZE), np.nan), np.eye(SIZE))
        assert report.status is SolveStatus.NON_FINITE

    def test_nothing_to_solve(self):
        solver = PreconditionedGradient()
        found, report = solver.solve(times(MATRIX), times(np.eye(SIZE)), tf.zeros(SIZE, tf.float64), DAMPING)
        assert report.status is SolveStatus.ZERO_RIGHT_HAND_SIDE and not found.numpy().any()


@pytest.mark.parametrize("curvature", ["bound", "gauss-newton"])
def test_factors_precondition_the_curvature_of_a_head(curvature):
    task, _ = poisoned_task(rows=60, flips=20)
    settings = SecondOrder(
        solver="kronecker-cg", curvature=curvature, cg_rtol=1e-5, cg_iterations=200, dampings=[0.1, 0.01]
    )
    problem = InfluenceProblem(small_model(), task, settings)
    gradient = problem.right_hand_side(problem.initial) * len(task.train)
    solution = preconditioned_solve(problem, settings, np.random.default_rng(0))(problem.initial, gradient)
    objective = _curvature_rows(problem, settings, np.random.default_rng(0))
    matrix = dense_matrix(objective.product(curvature), problem.initial)
    for vector, report in zip(solution.vectors, solution.reports, strict=True):
        damped = matrix + report.damping * np.eye(len(matrix))
        wanted = np.linalg.solve(damped, gradient.numpy() / len(task.train))
        np.testing.assert_allclose(vector, wanted, rtol=0.02, atol=2e-3 * np.abs(wanted).max())


class TestCurvatureRows:
    def rows(self, corrections: Corrections | None = None, **settings) -> int:
        task, _ = poisoned_task(rows=60, flips=20)
        if corrections is not None:
            object.__setattr__(task, "corrections", corrections)
        chosen = SecondOrder(**settings)
        return _curvature_rows(InfluenceProblem(small_model(), task, chosen), chosen, np.random.default_rng(0)).rows

    def test_they_are_drawn_from_where_it_is_said(self):
        assert self.rows(curvature_rows=30) == 30
        assert self.rows(curvature_rows=30, curvature_from="all") == 60
        assert self.rows(curvature_rows=30, curvature_from="flagged") == 20
        assert self.rows(curvature_rows=10, curvature_from="flagged") == 10

    def test_removed_rows_have_no_curvature(self):
        some = Corrections(np.arange(4), np.array([1, REMOVED, REMOVED, 2]))
        assert self.rows(some, curvature_from="flagged") == 2
        none = Corrections(np.arange(4), np.full(4, REMOVED))
        assert self.rows(none, curvature_from="flagged") == 60
