"""Derivatives against finite differences, and what they do not depend on."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from support.influence import objective_on
from support.small import blobs, small_model
from unlearning.influence import Objective
from unlearning.influence.solvers import dense_matrix


def numpy_loss(objective: Objective, parameters: np.ndarray) -> float:
    return float(objective.loss(tf.constant(parameters)))


@pytest.mark.usefixtures("float64")
class TestDerivatives:
    """Float64, so that disagreement is error and not rounding."""

    @pytest.fixture(params=["plain", "l2", "smoothed"])
    def objective(self, request) -> Objective:
        penalty = keras.regularizers.L2(0.1) if request.param == "l2" else None
        weights = np.random.default_rng(5).uniform(0.2, 2.0, 50)
        return objective_on(
            small_model(regulariser=penalty),
            blobs(50),
            weights=weights,
            batch_rows=16,
            smoothing=0.3 * (request.param == "smoothed"),
        )

    def test_gradient_is_the_finite_difference_of_the_loss(self, objective: Objective) -> None:
        at = objective.head.parameters().numpy()
        gradient = objective.gradient(tf.constant(at)).numpy()
        step = 1e-6
        for i in range(len(at)):
            e = np.zeros_like(at)
            e[i] = step
            slope = (numpy_loss(objective, at + e) - numpy_loss(objective, at - e)) / (2 * step)
            assert gradient[i] == pytest.approx(slope, abs=1e-8)

    def test_hessian_is_the_finite_difference_of_the_gradient(self, objective: Objective) -> None:
        at = objective.head.parameters()
        matrix = dense_matrix(objective.product("hessian"), at)
        step = 1e-6
        for i in range(objective.head.size):
            e = np.zeros(objective.head.size)
            e[i] = step
            column = (objective.gradient(at + e) - objective.gradient(at - e)) / (2 * step)
            np.testing.assert_allclose(matrix[:, i], column, atol=1e-8)

    def test_gauss_newton_is_the_explicit_jacobian_product(self, objective: Objective) -> None:
        head, at = objective.head, objective.head.parameters()
        inputs = objective._store.fetch(tf.range(50, dtype=tf.int64))
        with tf.GradientTape() as tape:
            tape.watch(at)
            logits = head.logits(head.unflatten(at), inputs)
        jacobian = tape.jacobian(logits, at).numpy()  # (rows, classes, size)
        p = tf.nn.softmax(logits).numpy()
        p = (1 - objective._smoothing) * p + objective._smoothing / 3
        weights = objective._weights.numpy()
        expected = np.zeros((head.size, head.size))
        for i in range(50):
            middle = np.diag(p[i]) - np.outer(p[i], p[i])
            expected += weights[i] * jacobian[i].T @ middle @ jacobian[i] / 50
        if head.is_regularised:
            is_kernel = np.concatenate([np.full(t.size, t.ndim > 1) for t in (v.numpy() for v in head.variables)])
            expected += np.diag(2 * 0.1 * is_kernel)
        np.testing.assert_allclose(dense_matrix(objective.product("gauss-newton"), at), expected, atol=1e-12)
        assert np.linalg.eigvalsh(expected)[0] > -1e-12

    def test_both_curvatures_agree_on_a_linear_head(self) -> None:
        objective = objective_on(small_model(), blobs(40), trainable_from="logits")
        at = objective.head.parameters()
        hessian, gauss_newton = (dense_matrix(objective.product(c), at) for c in ("hessian", "gauss-newton"))
        np.testing.assert_allclose(hessian, gauss_newton, atol=1e-13)

    def test_hessian_of_a_deep_head_is_indefinite(self) -> None:
        """Why Gauss-Newton is the default: the true Hessian has directions of negative curvature."""
        objective = objective_on(small_model(), blobs(40))
        spectrum = np.linalg.eigvalsh(dense_matrix(objective.product("hessian"), objective.head.parameters()))
        assert spectrum[0] < -1e-3

    @pytest.mark.parametrize("batch_rows", [1, 7, 50, 64])
    def test_results_do_not_depend_on_the_batch_size(self, batch_rows: int) -> None:
        reference = objective_on(small_model(), blobs(50), batch_rows=50)
        other = objective_on(small_model(), blobs(50), batch_rows=batch_rows)
        at = reference.head.parameters()
        vector = tf.constant(np.random.default_rng(1).standard_normal(reference.head.size))
        for function in (
            lambda o: o.loss(at),
            lambda o: o.gradient(at),
            lambda o: o.product("gauss-newton")(at, vector),
        ):
            np.testing.assert_allclose(function(other), function(reference), rtol=1e-12, atol=1e-14)
        np.testing.assert_array_equal(other.predictions(at), reference.predictions(at))

    def test_caching_changes_nothing(self) -> None:
        cached = objective_on(small_model(), blobs(50))
        whole = objective_on(small_model(), blobs(50), trainable_from="hidden", cache_features=False)
        assert cached.head.is_cached and not whole.head.is_cached
        assert cached.head.size == whole.head.size
        at = cached.head.parameters()
        vector = tf.constant(np.random.default_rng(1).standard_normal(cached.head.size))
        np.testing.assert_allclose(cached.gradient(at), whole.gradient(at), atol=1e-13)
        for curvature in ("hessian", "gauss-newton"):
            np.testing.assert_allclose(
                cached.product(curvature)(at, vector), whole.product(curvature)(at, vector), atol=1e-13
            )

    def test_rows_on_disk_give_the_same_numbers(self) -> None:
        memory = objective_on(small_model(), blobs(50), batch_rows=16)
        disk = objective_on(small_model(), blobs(50), batch_rows=16, memory_limit_bytes=100)
        assert memory._store.in_memory and not disk._store.in_memory
        at = memory.head.parameters()
        np.testing.assert_allclose(disk.gradient(at), memory.gradient(at), atol=1e-14)

    def test_softmax_outputs_give_the_same_gradients_as_logits(self) -> None:
        logits, softmax = small_model(), small_model(softmax=True)
        softmax.set_weights(logits.get_weights())
        a, b = objective_on(logits, blobs(50)), objective_on(softmax, blobs(50))
        np.testing.assert_allclose(a.gradient(a.head.parameters()), b.gradient(b.head.parameters()), atol=1e-14)


@pytest.mark.usefixtures("float64")
def test_second_derivatives_through_max_pooling_match_finite_differences() -> None:
    """XLA gets this product wrong; the compiled loops must therefore never be jitted."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((6, 6, 1)),
            layers.Conv2D(3, 3, activation="tanh"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(3),
        ]
    )
    objective = objective_on(model, blobs(30), trainable_from="all")
    at = objective.head.parameters()
    rng = np.random.default_rng(0)
    vector = tf.constant(rng.standard_normal(objective.head.size))
    product = objective.product("hessian")(at, vector)
    step = 1e-6
    expected = (objective.gradient(at + step * vector) - objective.gradient(at - step * vector)) / (2 * step)
    error = tf.norm(product - expected) / tf.norm(expected)
    assert float(error) < 1e-6
