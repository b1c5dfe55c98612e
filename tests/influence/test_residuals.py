"""How good solutions are, of a matrix whose products can be taken by hand."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from unlearning.influence.solutions import dot, residuals_of


def test_residuals_are_those_of_the_damped_system() -> None:
    """diag(1, 2) at parameters of 3 is diag(3, 6)."""
    measure = residuals_of(lambda parameters, vector: parameters[0] * tf.constant([1.0, 2.0]) * vector)
    rhs = tf.constant([6.0, 8.0])
    vectors = tf.constant([[2.0, 8.0 / 6.0], [1.0, 1.0], [0.0, 0.0], [np.nan, 0.0]])
    found = measure(tf.constant([3.0]), rhs, vectors, [0.0, 1.0, 5.0, 1.0])
    assert found.dtype == np.float64
    # 6 - (3 + 1) = 2 and 8 - (6 + 1) = 1 of a right-hand side of length 10.
    np.testing.assert_allclose(found, [0.0, np.sqrt(5) / 10, 1.0, np.inf], atol=1e-7)


def test_nothing_to_solve_has_no_residual() -> None:
    measure = residuals_of(lambda _, vector: vector)
    assert measure(tf.zeros(1), tf.zeros(2), tf.zeros((1, 2)), [0.5]).tolist() == [np.inf]


def test_inner_products_are_summed_in_double_precision() -> None:
    one, many = tf.constant([1e4, 1.0, -1e4]), tf.constant([1e4, 1.0, 1e4])
    assert float(dot(one, many)) == 1.0 and dot(one, many).dtype == tf.float64
