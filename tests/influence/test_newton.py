"""Which rows make the curvature, what solves report and cost, and which of their steps is taken."""

from __future__ import annotations

from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from unlearning.influence import InfluenceProblem
from unlearning.influence.kronecker import BlockSolver, KroneckerFactors, largest_eigenvalue
from unlearning.influence.newton import _choose, _curvature_rows, damped_solve, kronecker_solve, newton_steps
from unlearning.influence.solutions import Solution
from unlearning.methods.second_order import SecondOrder
from unlearning.task import Corrections, SolveReport, SolveStatus, Split, UnlearningTask

ROWS = 30
SURE = tf.constant([0.0] * 12 + [1e4, 0.0, 0.0])
"""Parameters with which every row is sure of class 0, so that the Gauss-Newton matrix is zero."""


def regression(**settings) -> tuple[InfluenceProblem, SecondOrder]:
    """A softmax regression on 30 rows of which three are flagged."""
    keras.utils.set_random_seed(0)
    images = np.random.default_rng(0).normal(size=(ROWS, 4)).astype(np.float32)
    labels = np.arange(ROWS) % 3
    corrections = Corrections(np.arange(3), (labels[:3] + 1) % 3)
    task = UnlearningTask(Split(images, labels), corrections, Split(images, labels), 3)
    method = SecondOrder(trainable_from="all", **settings)
    return InfluenceProblem(keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]), task, method), method


def report(damping: float, status: SolveStatus = SolveStatus.CONVERGED) -> SolveReport:
    return SolveReport("cg", status, 1, 0.0, damping, 1.0, False, 1)


@pytest.mark.parametrize("wanted", [None, 7, ROWS - 1, ROWS, ROWS + 1])
def test_rows_of_the_curvature_are_drawn_once_each(wanted: int | None) -> None:
    problem = SimpleNamespace(
        task=SimpleNamespace(train=range(ROWS)), corrected_subset=lambda rows, smoothing: (rows, smoothing)
    )
    settings = SecondOrder(curvature_rows=wanted, smoothing=0.25)
    rows, smoothing = _curvature_rows(problem, settings, np.random.default_rng(0))
    assert smoothing == 0.25 and len(rows) == min(wanted or ROWS, ROWS)
    assert (np.diff(rows) > 0).all() and rows[0] >= 0 and rows[-1] < ROWS


class TestKronecker:
    def test_it_solves_for_the_mean_gradient_at_every_share_of_the_largest_eigenvalue(self) -> None:
        problem, settings = regression(solver="kronecker", curvature="bound", dampings=(0.5, 0.1), curvature_rows=12)
        gradient = tf.constant(np.random.default_rng(1).normal(size=problem.head.size), tf.float32)
        solution = kronecker_solve(problem, settings, np.random.default_rng(5))(problem.initial, gradient)

        rng = np.random.default_rng(5)
        objective = _curvature_rows(problem, settings, rng)
        blocks = KroneckerFactors(objective, "bound", rng).measure(problem.initial)
        largest = largest_eigenvalue(blocks)
        for share, vector, told in zip((0.5, 0.1), solution.vectors, solution.reports, strict=True):
            expected = BlockSolver(problem.head, blocks, share * largest)(gradient / ROWS)
            np.testing.assert_allclose(vector, expected, rtol=1e-4, atol=1e-6)
            assert told == SolveReport("kronecker", SolveStatus.CONVERGED, 1, 0.0, share * largest, largest, False, 0)
        assert not solution.log

    def test_factors_are_measured_at_the_first_step_only(self) -> None:
        problem, settings = regression(solver="kronecker", curvature="gauss-newton", dampings=(0.1,), curvature_rows=12)
        solve = kronecker_solve(problem, settings, np.random.default_rng(0))
        gradient, before = tf.ones(problem.head.size), problem.work.curvature_rows
        first = solve(problem.initial, gradient)
        again = solve(problem.initial + 5.0, gradient)  # where the matrix of the model is another one
        np.testing.assert_array_equal(first.vectors, again.vectors)
        assert problem.work.curvature_rows - before == 3 * 12  # a pass back a class

    @pytest.mark.parametrize("what", ["gradient", "curvature", "solution"])
    def test_what_is_not_finite_is_said(self, what: str) -> None:
        problem, settings = regression(solver="kronecker", curvature="bound", dampings=(0.5, 1e-3))
        gradient, at = np.ones(problem.head.size, np.float32), problem.initial
        if what == "gradient":
            gradient[7] = np.nan
        elif what == "curvature":
            problem.task.train.images[20] = np.inf
            problem = InfluenceProblem(problem.head._original, problem.task, settings)
        else:
            gradient *= 3e38  # and the damped curvature is well below 1 / rows
        solution = kronecker_solve(problem, settings, np.random.default_rng(0))(at, tf.constant(gradient))
        assert [r.status for r in solution.reports][-1] is SolveStatus.NON_FINITE
        assert len(solution.reports) == len(solution.vectors) == 2

    def test_a_curvature_of_nothing_is_damped_all_the_same(self) -> None:
        problem, settings = regression(
            solver="kronecker", curvature="gauss-newton", smoothing=0.0, dampings=(0.5, 0.25)
        )
        solve = kronecker_solve(problem, settings, np.random.default_rng(0))
        found = solve(SURE, tf.fill([problem.head.size], ROWS * 1e-20))
        assert [r.damping for r in found.reports] == pytest.approx([0.5e-30, 0.25e-30], abs=0)
        assert [r.status for r in found.reports] == [SolveStatus.CONVERGED] * 2
        vectors = found.vectors.numpy() / (1e-20 / 0.25e-30)  # as if the smaller damping were all there is
        assert (vectors > 0).all() and (vectors <= 1).all() and (vectors[1] > vectors[0]).all()


class TestDamped:
    @pytest.mark.parametrize("solver", ["cg", "dense"])
    def test_the_largest_eigenvalue_is_paid_for_once(self, solver: str) -> None:
        problem, settings = regression(
            solver=solver, dampings=(0.1,), curvature_rows=12, power_iterations=6, cg_iterations=2, cg_rtol=1e-9
        )
        solve = damped_solve(problem, settings, np.random.default_rng(0))
        spent, products = [], []
        for _ in range(2):
            before = problem.work.curvature_rows
            products.append(solve(problem.initial, tf.ones(problem.head.size)).reports[0].matvecs)
            spent.append(problem.work.curvature_rows - before)
        assert spent == [12 * count for count in products]
        assert products[0] - products[1] == (6 if solver == "cg" else 0)

    def test_dampings_differ_where_the_curvature_vanishes(self) -> None:
        problem, settings = regression(solver="dense", curvature="gauss-newton", dampings=(0.5, 0.25), smoothing=0.0)
        solve = damped_solve(problem, settings, np.random.default_rng(0))
        found = solve(SURE, tf.zeros(problem.head.size))
        assert [r.damping for r in found.reports] == pytest.approx([0.5e-30, 0.25e-30], abs=0)


def test_lissa_counts_the_rows_of_its_batches() -> None:
    for batch, rows in ((8, 8), (100, ROWS)):
        problem, settings = regression(solver="lissa", lissa_scale=50.0, lissa_batch_rows=batch, lissa_iterations=5)
        propose = newton_steps(problem, settings, np.random.default_rng(0), measure_residual=False)
        step = propose(problem.initial, tf.ones(problem.head.size), 0.0)
        assert problem.work.curvature_rows == 5 * rows
        assert step.solves[0].matvecs == 5 and np.isnan(step.solves[0].relative_residual)
        assert step.log["step_length"] == 1.0


class TestChoice:
    """Of candidates `-length * vector` on one parameter."""

    @staticmethod
    def choose(accuracy, reports, lengths=(1.0, 2.0), vectors=((1.0,), (10.0,), (100.0,))):
        asked: list[float] = []

        def validation_accuracy(candidate: tf.Tensor) -> float:
            asked.append(-float(candidate[0]))
            return accuracy(asked[-1])

        problem = SimpleNamespace(validation_score=validation_accuracy)
        solution = Solution(tf.constant(vectors[: len(reports)]), reports, [{"iteration": 1}])
        return _choose(problem, tf.zeros(1), solution, lengths), asked

    def test_the_best_candidate_is_taken_with_its_damping_and_length(self) -> None:
        step, asked = self.choose(lambda at: 1 - abs(at - 20) / 1000, [report(0.1), report(0.3), report(0.2)])
        assert asked == [10, 20, 100, 200, 1, 2]  # the most damped, and the shortest, first
        assert float(step.parameters[0]) == -20 and step.log == {"damping": 0.3, "step_length": 2.0}
        assert step.accuracy == 1.0 and not step.failed
        assert len(step.solves) == 3 and step.solver_log == [{"iteration": 1}]

    def test_ties_go_to_the_more_cautious(self) -> None:
        step, _ = self.choose(lambda at: 0.5, [report(0.1), report(0.3)])
        assert step.log == {"damping": 0.3, "step_length": 1.0}

    @pytest.mark.parametrize("status", [SolveStatus.DIVERGED, SolveStatus.NON_FINITE])
    def test_solves_that_broke_down_are_passed_over(self, status: SolveStatus) -> None:
        step, asked = self.choose(lambda at: 0.5, [report(0.1), report(0.3, status), report(0.2)])
        assert asked == [100, 200, 1, 2] and step.log["damping"] == 0.2
        step, asked = self.choose(lambda at: 0.5, [report(0.1, status)])
        assert not asked and step.failed and step.parameters is None and len(step.solves) == 1

    def test_a_step_that_no_row_survives_is_a_step(self) -> None:
        assert self.choose(lambda at: 0.0, [report(0.1)])[0].parameters is not None
        assert self.choose(lambda at: -1.0, [report(0.1)])[0].parameters is None  # the score of what is not finite
