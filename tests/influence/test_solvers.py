"""Conjugate gradients, LiSSA and the dense solve."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from support.influence import objective_on
from support.small import blobs, small_model
from unlearning.errors import InputError
from unlearning.influence import ConjugateGradient, Lissa, solve_dense
from unlearning.influence.solvers import dense_matrix, estimate_lambda_max
from unlearning.streams import stream
from unlearning.task import SolveStatus, Split


class TestConjugateGradient:
    """Multi-shift conjugate gradients against NumPy, on random matrices."""

    @staticmethod
    def system(size: int = 30, seed: int = 0, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        basis = np.linalg.qr(rng.standard_normal((size, size)))[0]
        return basis @ np.diag(np.geomspace(1e-3, 1, size) + shift) @ basis.T, rng.standard_normal(size)

    @staticmethod
    def solve(matrix: np.ndarray, rhs: np.ndarray, dampings, **options):
        operator = tf.constant(matrix)
        bound = ConjugateGradient(**options).bind(lambda _, v: tf.linalg.matvec(operator, v))
        return bound(tf.zeros(1), tf.constant(rhs), dampings)

    def test_every_damping_matches_the_dense_solve(self) -> None:
        matrix, rhs = self.system()
        dampings = [1.0, 0.01, 0.1, 0.001]  # neither ascending nor descending: order must be kept
        solution = self.solve(matrix, rhs, dampings, rtol=1e-12, max_iterations=200)
        for vector, damping, report in zip(solution.vectors.numpy(), dampings, solution.reports, strict=True):
            expected = np.linalg.solve(matrix + damping * np.eye(len(rhs)), rhs)
            np.testing.assert_allclose(vector, expected, rtol=1e-7, atol=1e-8)
            assert report.damping == damping
            assert report.status is SolveStatus.CONVERGED
        assert sum(r.matvecs for r in solution.reports) == solution.reports[0].iterations + len(dampings)

    def test_reported_residuals_are_the_true_ones_when_cut_short(self) -> None:
        matrix, rhs = self.system()
        dampings = [0.001, 0.03, 0.5]
        solution = self.solve(matrix, rhs, dampings, rtol=1e-12, max_iterations=7)
        for vector, damping, report in zip(solution.vectors.numpy(), dampings, solution.reports, strict=True):
            residual = np.linalg.norm(rhs - (matrix + damping * np.eye(len(rhs))) @ vector) / np.linalg.norm(rhs)
            assert report.relative_residual == pytest.approx(residual, rel=1e-6)
            assert report.iterations == 7
        assert solution.reports[0].status is SolveStatus.MAX_ITERATIONS
        assert [row["iteration"] for row in solution.log] == list(range(8))

    @pytest.mark.parametrize("condition", [1e2, 1e6, 1e9])
    def test_float32_reports_what_the_solutions_leave(self, condition: float) -> None:
        """Recurrences in float32 fall on when the solutions no longer get better; nothing of that may be reported."""
        rng = np.random.default_rng(0)
        basis = np.linalg.qr(rng.standard_normal((60, 60)))[0]
        matrix = (basis @ np.diag(np.geomspace(1 / condition, 1, 60)) @ basis.T).astype(np.float32)
        rhs = rng.standard_normal(60).astype(np.float32)
        dampings, rtol = [1.0, 1e-2, 0.1 / condition], 1e-6
        solution = self.solve(matrix, rhs, dampings, rtol=rtol, max_iterations=400)
        for vector, damping, report in zip(solution.vectors.numpy(), dampings, solution.reports, strict=True):
            damped = matrix.astype(np.float64) + damping * np.eye(60)
            residual = np.linalg.norm(rhs - damped @ vector) / np.linalg.norm(rhs)
            # The product itself is in float32: its error is of the size of the numbers that it adds up.
            accuracy = float(20 * np.finfo(np.float32).eps * np.linalg.norm(vector) / np.linalg.norm(rhs))
            assert report.relative_residual == pytest.approx(residual, rel=0.05, abs=accuracy)
            assert (report.status is SolveStatus.CONVERGED) == (report.relative_residual <= rtol * 1.001)
        if condition > 1e2:
            assert solution.reports[2].status in (SolveStatus.STALLED, SolveStatus.MAX_ITERATIONS)
            assert solution.reports[2].relative_residual > rtol

    def test_a_solve_that_stalls_says_so(self) -> None:
        """The recurrences believe in a product that has changed meanwhile; the solution is that of no system."""
        calls = tf.Variable(0)
        operator = tf.constant(np.diag([3.0, 2.0, 1.0]))

        def product(_, vector):
            scale = tf.where(calls.assign_add(1) <= 3, 1.0, 1.5)
            return tf.cast(scale, vector.dtype) * tf.linalg.matvec(operator, vector)

        bound = ConjugateGradient(rtol=1e-8, max_iterations=3).bind(product)
        report = bound(tf.zeros(1), tf.ones(3, tf.float64), [0.0]).reports[0]
        assert report.status is SolveStatus.STALLED
        assert report.relative_residual == pytest.approx(0.5)

    def test_a_system_that_is_done_keeps_its_residual_in_the_log(self) -> None:
        matrix, rhs = self.system()
        log = self.solve(matrix, rhs, [1e-6, 10.0], rtol=1e-8, max_iterations=60).log
        assert all(row["relative_residual_most_damped"] > 0 for row in log)

    def test_stops_at_negative_curvature_and_keeps_the_iterate_before(self) -> None:
        matrix, rhs = np.diag([1.0, 0.5, -0.3]), np.array([1.0, 1.0, 0.2])
        solution = self.solve(matrix, rhs, [0.01], rtol=1e-10, max_iterations=20)
        assert solution.reports[0].status is SolveStatus.NEGATIVE_CURVATURE
        assert solution.reports[0].negative_curvature
        assert np.isfinite(solution.vectors).all()

    def test_non_finite_numbers_give_a_status_and_no_nan(self) -> None:
        solution = self.solve(np.diag([1.0, np.nan]), np.ones(2), [0.1])
        assert solution.reports[0].status is SolveStatus.NON_FINITE
        assert np.isfinite(solution.vectors).all()

    def test_zero_right_hand_side(self) -> None:
        solution = self.solve(np.eye(3), np.zeros(3), [0.1, 1.0])
        assert {r.status for r in solution.reports} == {SolveStatus.ZERO_RIGHT_HAND_SIDE}
        assert not solution.vectors.numpy().any()

    def test_bad_arguments(self) -> None:
        with pytest.raises(InputError, match="rtol"):
            ConjugateGradient(rtol=0)
        with pytest.raises(InputError, match="max_iterations"):
            ConjugateGradient(max_iterations=0)
        with pytest.raises(InputError, match="dampings"):
            self.solve(np.eye(2), np.ones(2), [0.1, 0.1])

    def test_power_iteration_finds_the_largest_eigenvalue(self) -> None:
        matrix, _ = self.system(size=12)
        operator = tf.constant(matrix)
        run = estimate_lambda_max(lambda _, v: tf.linalg.matvec(operator, v), 12, tf.float64, iterations=200, seed=0)
        assert run(tf.zeros(1)) == pytest.approx(1.0, rel=1e-6)


@pytest.mark.usefixtures("float64")
class TestOtherSolvers:
    def test_dense_solver_is_numpy(self) -> None:
        objective = objective_on(small_model(), blobs(50))
        at, product = objective.head.parameters(), objective.product("gauss-newton")
        rhs = objective.gradient(at)
        solution = solve_dense(product, at, rhs, [0.1, 0.01])
        for vector, damping in zip(solution.vectors.numpy(), (0.1, 0.01), strict=True):
            damped = dense_matrix(product, at) + damping * np.eye(len(rhs))
            np.testing.assert_allclose(damped @ vector, rhs, atol=1e-10)
        with pytest.raises(InputError, match="dense"):
            solve_dense(product, at, tf.zeros(6000), [0.1])

    def test_a_dense_solve_reports_what_its_vectors_leave(self) -> None:
        matrix = tf.constant(np.diag([1.0, 0.0]))

        def solve(operator, rhs, damping: float):
            return solve_dense(lambda _, v: tf.linalg.matvec(operator, v), tf.zeros(2, rhs.dtype), rhs, [damping])

        singular = solve(matrix, tf.constant([1.0, 1.0], tf.float64), 0.0).reports[0]
        assert singular.status is SolveStatus.STALLED
        assert singular.relative_residual == pytest.approx(np.sqrt(0.5))
        single = solve(tf.cast(matrix, tf.float32), tf.constant([1.0, 1.0]), 0.3).reports[0]
        assert single.status is SolveStatus.CONVERGED and 0 < single.relative_residual < 1e-6
        broken = solve(matrix * np.nan, tf.ones(2, tf.float64), 0.1)
        assert broken.reports[0].status is SolveStatus.NON_FINITE and not broken.vectors.numpy().any()

    def test_lissa_without_a_right_hand_side_says_so(self) -> None:
        objective = objective_on(small_model(), blobs(50), trainable_from="logits")
        at = objective.head.parameters()
        solution = Lissa(60.0, 0.05, batch_rows=50, max_iterations=3).bind(objective, seed=0)(at, tf.zeros_like(at))
        assert solution.reports[0].status is SolveStatus.ZERO_RIGHT_HAND_SIDE
        assert solution.reports[0].relative_residual == 0

    def test_conjugate_gradients_match_the_dense_solver_on_a_model(self) -> None:
        objective = objective_on(small_model(), blobs(50))
        at, product = objective.head.parameters(), objective.product("gauss-newton")
        rhs = objective.gradient(at)
        bound = ConjugateGradient(rtol=1e-10, max_iterations=200).bind(product)
        dampings = [0.1, 0.01]
        expected = solve_dense(product, at, rhs, dampings)
        np.testing.assert_allclose(bound(at, rhs, dampings).vectors, expected.vectors, rtol=1e-6, atol=1e-9)

    def test_lissa_converges_to_the_damped_solution_with_full_batches(self) -> None:
        """With one batch of all rows there is no sampling noise, so the fixed point must be the dense solution."""
        objective = objective_on(small_model(), blobs(50), trainable_from="logits")
        at, scale, damping = objective.head.parameters(), 60.0, 0.05
        rhs = objective.gradient(at)
        solve = Lissa(scale, damping, batch_rows=50, patience=20, max_iterations=3000).bind(objective, seed=0)
        solution = solve(at, rhs)
        summed = 50 * dense_matrix(objective.product("hessian"), at)
        expected = np.linalg.solve(summed + damping * scale * np.eye(len(rhs)), rhs)
        np.testing.assert_allclose(solution.vectors[0], expected, rtol=1e-6, atol=1e-10)
        assert solution.reports[0].relative_residual < 1e-6

    def test_lissa_follows_the_published_recursion(self) -> None:
        """Three iterations over two unequal batches, written out in NumPy."""
        objective = objective_on(small_model(), blobs(50))
        at = objective.head.parameters()
        rhs = objective.gradient(at).numpy()
        permutation = stream(3, "method", "lissa").permutation(50)
        u = rhs.copy()
        for block in (permutation[:30], permutation[30:], permutation[:30]):
            part = Split(blobs(50).images[block], blobs(50).labels[block])
            matrix = dense_matrix(objective_on(small_model(), part, normaliser=1.0).product("hessian"), at)
            u = rhs + (1 - 0.01) * u - matrix @ u / 500.0
        solve = Lissa(500.0, 0.01, batch_rows=30, patience=20, max_iterations=3).bind(objective, seed=3)
        solution = solve(at, tf.constant(rhs))
        np.testing.assert_allclose(solution.vectors[0], u / 500.0, rtol=1e-10, atol=1e-14)
        assert solution.reports[0].matvecs == 3

    def test_lissa_reports_divergence(self) -> None:
        objective = objective_on(small_model(), blobs(50))
        at = objective.head.parameters()
        solve = Lissa(1e-3, 0.0, batch_rows=50, patience=20, max_iterations=400).bind(objective, seed=0)
        assert solve(at, objective.gradient(at)).reports[0].status is SolveStatus.DIVERGED

    def test_lissa_stops_when_the_update_norm_stops_falling(self) -> None:
        objective = objective_on(small_model(), blobs(50))
        at = objective.head.parameters()
        solve = Lissa(500.0, 1e-3, batch_rows=10, patience=5, max_iterations=2000).bind(objective, seed=0)
        solution = solve(at, objective.gradient(at))
        assert solution.reports[0].status is SolveStatus.EARLY_STOP
        norms = [row["update_norm"] for row in solution.log]
        assert len(norms) - 1 - int(np.argmin(norms)) == 5 - 1
