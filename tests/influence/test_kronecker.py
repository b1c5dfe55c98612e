"""Kronecker factors against matrices that are formed entry by entry."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from unlearning.errors import InputError
from unlearning.influence.head import Head
from unlearning.influence.kronecker import Block, BlockSolver, KroneckerFactors, largest_eigenvalue
from unlearning.influence.objective import Objective
from unlearning.influence.rows import RowStore
from unlearning.influence.solvers import dense_matrix

ROWS, CLASSES = 30, 3


def objective_of(model: keras.Model, inputs: np.ndarray, classes: int = CLASSES, **options) -> Objective:
    head = Head(model, "all")
    labels = np.arange(len(inputs)) % classes
    store = RowStore.from_images(head, [inputs])
    return Objective(head, store, np.arange(len(inputs)), labels, batch_rows=8, **options)


def measured(objective: Objective, curvature: str) -> list[Block]:
    return KroneckerFactors(objective, curvature, np.random.default_rng(0)).measure(objective.head.parameters())


def linear(classes: int = CLASSES, **options) -> tuple[keras.Model, np.ndarray]:
    inputs = np.random.default_rng(1).normal(size=(ROWS, 4)).astype("float32")
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(classes, **options)]), inputs


def layers_apart(head: Head, matrix: np.ndarray, block: Block) -> np.ndarray:
    """The part of a matrix over all parameters that belongs to a layer, bias last."""
    starts = np.cumsum([0, *(int(np.prod(v.shape)) for v in head.variables)])
    owned = [np.arange(starts[i], starts[i + 1]) for i in (block.kernel, block.bias) if i is not None]
    index = np.concatenate(owned)
    return matrix[np.ix_(index, index)]


class TestLinear:
    @pytest.mark.parametrize("use_bias", [True, False])
    def test_the_bound_is_exact(self, use_bias):
        objective = objective_of(*linear(use_bias=use_bias))
        (block,) = measured(objective, "bound")
        wanted = dense_matrix(objective.product("bound"), objective.head.parameters())
        np.testing.assert_allclose(np.kron(block.inputs, block.outputs), wanted, atol=1e-6)

    def test_gauss_newton_is_exact_where_all_rows_answer_alike(self):
        objective = objective_of(*linear(kernel_initializer="zeros", bias_initializer="random_normal"))
        (block,) = measured(objective, "gauss-newton")
        wanted = dense_matrix(objective.product("gauss-newton"), objective.head.parameters())
        np.testing.assert_allclose(np.kron(block.inputs, block.outputs), wanted, atol=1e-6)

    def test_weights_count(self):
        model, inputs = linear()
        weights = np.zeros(ROWS)
        weights[:10] = 1
        few = measured(objective_of(model, inputs, weights=weights), "bound")
        ten = measured(objective_of(model, inputs[:10]), "bound")
        np.testing.assert_allclose(few[0].inputs, ten[0].inputs, rtol=1e-5)
        np.testing.assert_allclose(few[0].outputs, ten[0].outputs, rtol=1e-5)

    def test_many_classes_are_right_in_the_mean(self):
        inputs = np.random.default_rng(1).normal(size=(4000, 4)).astype("float32")
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(20)])
        (block,) = measured(objective_of(model, inputs, classes=20), "bound")
        np.testing.assert_allclose(block.outputs, 0.5 * (np.eye(20) - 1 / 20), atol=0.01)


class TestBound:
    def test_it_is_above_the_hessian_everywhere(self):
        model, inputs = linear()
        objective = objective_of(model, inputs)
        for scale in (0.0, 1.0, 30.0):
            parameters = scale * objective.head.parameters()
            bound = dense_matrix(objective.product("bound"), parameters)
            hessian = dense_matrix(objective.product("hessian"), parameters)
            assert np.linalg.eigvalsh(bound - hessian)[0] > -1e-5

    def test_it_is_the_fully_smoothed_gauss_newton_matrix_up_to_scale(self):
        model, inputs = linear()
        bound = objective_of(model, inputs).product("bound")
        smooth = objective_of(model, inputs, smoothing=1.0).product("gauss-newton")
        parameters = Head(model, "all").parameters()
        vector = tf.constant(np.random.default_rng(2).normal(size=parameters.shape), tf.float32)
        wanted = CLASSES / 2 * smooth(parameters, vector)
        np.testing.assert_allclose(bound(parameters, vector), wanted, atol=1e-6)


class TestDeep:
    def test_blocks_are_means_of_what_each_row_says(self):
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [keras.Input((4,)), keras.layers.Dense(5, activation="tanh"), keras.layers.Dense(CLASSES)]
        )
        inputs = np.random.default_rng(1).normal(size=(ROWS, 4)).astype("float32")
        objective = objective_of(model, inputs)
        for curvature in ("bound", "gauss-newton"):
            first, _ = measured(objective, curvature)
            kernel, bias, second, _ = (v.numpy().astype(np.float64) for v in objective.head.variables)
            hidden = np.tanh(inputs @ kernel + bias)
            scores = model(inputs).numpy().astype(np.float64)
            p = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
            wanted = np.zeros((5, 5))
            for row in range(ROWS):
                slope = second.T * (1 - hidden[row] ** 2)  # logits by pre-activations
                middle = (
                    0.5 * (np.eye(3) - 1 / 3) if curvature == "bound" else np.diag(p[row]) - np.outer(p[row], p[row])
                )
                wanted += slope.T @ middle @ slope / ROWS
            np.testing.assert_allclose(first.outputs, wanted, atol=1e-5)
            extended = np.concatenate([inputs, np.ones((ROWS, 1))], axis=1)
            np.testing.assert_allclose(first.inputs, extended.T @ extended / ROWS, atol=1e-5)

    def test_the_model_is_left_as_it_was(self):
        model, inputs = linear(activation="relu", use_bias=True)
        objective = objective_of(model, inputs)
        layer = objective.head.layers()[-1]
        before = (layer.__dict__.get("call"), layer.activation)
        measured(objective, "bound")
        assert (layer.__dict__.get("call"), layer.activation) == before


class TestConvolution:
    def test_one_position_is_a_dense_layer(self):
        keras.utils.set_random_seed(0)
        inputs = np.random.default_rng(1).normal(size=(ROWS, 2, 2, 1)).astype("float32")
        convolution = keras.Sequential(
            [keras.Input((2, 2, 1)), keras.layers.Conv2D(CLASSES, 2), keras.layers.Flatten()]
        )
        dense = keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Flatten(), keras.layers.Dense(CLASSES)])
        (one,), (other,) = (measured(objective_of(m, inputs), "bound") for m in (convolution, dense))
        np.testing.assert_allclose(one.inputs, other.inputs, atol=1e-6)
        np.testing.assert_allclose(one.outputs, other.outputs, atol=1e-6)

    @pytest.mark.parametrize(
        "options", [{}, {"padding": "same"}, {"strides": 2, "padding": "same"}, {"dilation_rate": 2}]
    )
    def test_patches_are_what_the_kernel_multiplies(self, options):
        from unlearning.influence.kronecker import _rows

        keras.utils.set_random_seed(0)
        layer = keras.layers.Conv2D(3, (3, 2), bias_initializer="random_normal", **options)
        inputs = tf.constant(np.random.default_rng(1).normal(size=(2, 7, 6, 2)), tf.float32)
        wanted = layer(inputs)
        kernel = tf.concat([tf.reshape(layer.kernel.value, [-1, 3]), layer.bias.value[tf.newaxis]], axis=0)
        found = tf.matmul(_rows(layer, inputs, with_bias=True), kernel)
        np.testing.assert_allclose(found, tf.reshape(wanted, [2, -1, 3]), atol=1e-5)


class TestSolve:
    def test_it_inverts_the_damped_factors(self):
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [keras.Input((4,)), keras.layers.Dense(5, activation="relu"), keras.layers.Dense(CLASSES, use_bias=False)]
        )
        inputs = np.random.default_rng(1).normal(size=(ROWS, 4)).astype("float32")
        objective = objective_of(model, inputs)
        head, blocks = objective.head, measured(objective, "bound")
        vector = np.random.default_rng(2).normal(size=head.size)
        found = BlockSolver(head, blocks, damping=0.01)(tf.constant(vector, tf.float32)).numpy()
        for block in blocks:
            a, g = block.inputs, block.outputs
            pi = np.sqrt(np.trace(a) / len(a) / (np.trace(g) / len(g)))
            damped = np.kron(a + pi * 0.1 * np.eye(len(a)), g + 0.1 / pi * np.eye(len(g)))
            starts = np.cumsum([0, *(int(np.prod(v.shape)) for v in head.variables)])
            owned = np.concatenate(
                [np.arange(starts[i], starts[i + 1]) for i in (block.kernel, block.bias) if i is not None]
            )
            np.testing.assert_allclose(found[owned], np.linalg.solve(damped, vector[owned]), rtol=1e-3, atol=1e-4)

    def test_the_largest_eigenvalue_is_that_of_the_product(self):
        objective = objective_of(*linear())
        blocks = measured(objective, "bound")
        wanted = np.linalg.eigvalsh(np.kron(blocks[0].inputs, blocks[0].outputs))[-1]
        assert largest_eigenvalue(blocks) == pytest.approx(wanted, rel=1e-6)

    def test_the_hessian_has_no_factors(self):
        with pytest.raises(InputError, match="curvature"):
            measured(objective_of(*linear()), "hessian")

    def test_a_head_without_such_layers_is_refused(self):
        inputs = np.random.default_rng(1).normal(size=(ROWS, 2, 2, 3)).astype("float32")
        model = keras.Sequential([keras.Input((2, 2, 3)), keras.layers.DepthwiseConv2D(2), keras.layers.Flatten()])
        with pytest.raises(InputError, match="Dense or a Conv2D"):
            measured(objective_of(model, inputs), "bound")
