"""What the solvers report, on systems small enough to be solved by hand."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import tensorflow as tf

from unlearning.influence import ConjugateGradient, Lissa, solve_dense
from unlearning.task import SolveStatus


def diagonal(*entries: float):
    """The product of a diagonal matrix."""
    return lambda _, vector: tf.constant(entries, vector.dtype) * vector


def test_lissa_on_four_rows_of_curvature_one() -> None:
    """Two rows a batch: `u <- b + 3/4 u - 2/4 u` adds a quarter of the update before; `u/scale` nears `b/3`."""
    rows = SimpleNamespace(
        rows=4, batch_hessian_product=lambda _, u, positions: tf.cast(tf.size(positions), u.dtype) * u
    )
    b = tf.constant([3.0, -6.0], tf.float64)
    solution = Lissa(4.0, 0.25, batch_rows=2, patience=50, max_iterations=30).bind(rows, seed=0)(tf.zeros(1), b)
    np.testing.assert_allclose(solution.vectors[0], [1.0, -2.0], rtol=1e-12)
    norms = [(row["iteration"], row["update_norm"]) for row in solution.log]
    assert norms[:3] == [(1, 9 / 4), (2, 9 / 16), (3, 9 / 64)]
    report = solution.reports[0]
    assert (report.damping, report.iterations, report.matvecs) == (1.0, 30, 30)  # of the sum: damping times scale
    assert report.relative_residual < 1e-12 and not report.negative_curvature


def test_a_dense_solve_sees_negative_curvature_below_its_damping_only() -> None:
    solution = solve_dense(diagonal(2.0, -1.0), tf.zeros(2), tf.constant([5.0, 1.0]), [0.5, 2.0])
    np.testing.assert_allclose(solution.vectors, [[2.0, -2.0], [1.25, 1.0]], rtol=1e-6)
    assert [report.negative_curvature for report in solution.reports] == [True, False]
    assert [report.matvecs for report in solution.reports] == [2, 0]  # the matrix is formed once
    assert all(r.iterations == 1 and r.lambda_max == 2 and r.status is SolveStatus.CONVERGED for r in solution.reports)


def test_the_smallest_damping_is_the_one_that_meets_negative_curvature() -> None:
    bound = ConjugateGradient(rtol=1e-6).bind(diagonal(1.0, -0.5))
    solution = bound(tf.zeros(1), tf.constant([0.0, 1.0], tf.float64), [2.0, 0.1])
    assert [report.status for report in solution.reports] == [SolveStatus.NEGATIVE_CURVATURE] * 2
    assert not solution.vectors.numpy().any()
    assert [report.matvecs for report in solution.reports] == [1, 0]


def test_a_damping_that_its_recurrence_calls_done_only_at_the_end_may_have_stalled() -> None:
    """One product: the driving system is not done, the one damped by 1e6 says that it is, of a product that changes."""
    calls = tf.Variable(0)

    def product(_, vector):
        return tf.cast(tf.where(calls.assign_add(1) <= 1, 1.0, 1e6), vector.dtype) * diagonal(1.0, 100.0)(_, vector)

    bound = ConjugateGradient(rtol=1e-3, max_iterations=1).bind(product)
    reports = bound(tf.zeros(1), tf.ones(2, tf.float64), [0.0, 1e6]).reports
    assert [report.status for report in reports] == [SolveStatus.MAX_ITERATIONS, SolveStatus.STALLED]


def test_nothing_to_solve_takes_no_product() -> None:
    solution = ConjugateGradient().bind(diagonal(1.0, 2.0))(tf.zeros(1), tf.zeros(2, tf.float64), [0.5, 1.0])
    assert [(report.iterations, report.matvecs) for report in solution.reports] == [(0, 0)] * 2
    assert [row["iteration"] for row in solution.log] == [0]
