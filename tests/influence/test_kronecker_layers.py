"""Which layers have Kronecker factors, and these of several positions, of sums and of degenerate inputs, by hand."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from unlearning.influence.head import Head
from unlearning.influence.kronecker import EXACT_CLASSES, Block, BlockSolver, KroneckerFactors, largest_eigenvalue
from unlearning.influence.objective import Objective
from unlearning.influence.rows import RowStore

ROWS = 12
LAYERS = keras.layers


def measured(model: keras.Model, shape: tuple[int, ...], classes: int = 3, **options) -> tuple[list[Block], np.ndarray]:
    """The blocks of a model's bound over random rows, and these."""
    inputs = np.random.default_rng(1).normal(size=(ROWS, *shape)).astype(np.float32)
    head = Head(model, "all")
    store = RowStore.from_images(head, [inputs])
    objective = Objective(head, store, np.arange(ROWS), np.arange(ROWS) % classes, batch_rows=5, **options)
    return KroneckerFactors(objective, "bound", np.random.default_rng(0)).measure(head.parameters()), inputs


def bound(classes: int = 3) -> np.ndarray:
    return 0.5 * (np.eye(classes) - 1 / classes)


def block_of(inputs: np.ndarray, outputs: np.ndarray) -> Block:
    return Block("layer", inputs, outputs, 0, None)


@pytest.mark.parametrize(
    ("layer", "shape"), [(LAYERS.Dense(3), (4, 2)), (LAYERS.Conv2D(3, 1), (2, 2, 2))], ids=["dense", "convolution"]
)
def test_inputs_are_summed_over_positions_and_slopes_averaged(layer: keras.layers.Layer, shape) -> None:
    """Four positions whose mean is the logits: each has a quarter of their slope."""
    model = keras.Sequential([keras.Input(shape), layer, LAYERS.Reshape((4, 3)), LAYERS.GlobalAveragePooling1D()])
    (block,), inputs = measured(model, shape)
    rows = np.concatenate([inputs.reshape(ROWS * 4, 2), np.ones((ROWS * 4, 1))], axis=1)
    np.testing.assert_allclose(block.inputs, rows.T @ rows / ROWS, rtol=1e-5)
    np.testing.assert_allclose(block.outputs, bound() / 16, atol=1e-7)


def test_layers_without_factors_stay_where_they_are() -> None:
    keras.utils.set_random_seed(0)
    frozen = LAYERS.Dense(5, name="frozen")
    model = keras.Sequential(
        [
            keras.Input((3, 3, 2)),
            LAYERS.Conv2D(4, 2, groups=2, name="grouped"),
            LAYERS.DepthwiseConv2D(2, name="each"),
            LAYERS.Flatten(),
            frozen,
            LAYERS.BatchNormalization(name="norm"),
            LAYERS.Dense(3, use_bias=False, name="last"),
        ]
    )
    frozen.trainable = False
    blocks, _ = measured(model, (3, 3, 2))
    assert [(block.name, block.bias) for block in blocks] == [("last", None)]
    head = Head(model, "all")
    solved = head.unflatten(BlockSolver(head, blocks, damping=0.1)(tf.ones(head.size)))
    moved = [variable.path for variable, part in zip(head.variables, solved, strict=True) if np.any(part)]
    assert moved == [head.variables[blocks[0].kernel].path] and "last" in moved[0]


@pytest.mark.parametrize("classes", [EXACT_CLASSES, EXACT_CLASSES + 1])
def test_signs_are_drawn_only_where_there_are_many_classes(classes: int) -> None:
    """Up to the limit the factor is exact; above it is so in the mean only, for as many passes."""
    inputs = np.ones((ROWS, 1), np.float32)
    head = Head(keras.Sequential([keras.Input((1,)), LAYERS.Dense(classes)]), "all")
    objective = Objective(head, RowStore.from_images(head, [inputs]), np.arange(ROWS), np.zeros(ROWS, int))
    factors = KroneckerFactors(objective, "bound", np.random.default_rng(0))
    (block,) = factors.measure(head.parameters())
    assert factors.passes == 16
    assert np.allclose(block.outputs, bound(classes), atol=1e-6) == (classes == EXACT_CLASSES)
    np.testing.assert_allclose(block.outputs.sum(0), 0, atol=1e-5)  # a constant added to all logits changes nothing


def test_rows_of_negative_weight_count_for_nothing() -> None:
    weights = np.where(np.arange(ROWS) < 4, -1.0, 1.0)
    model = keras.Sequential([keras.Input((2,)), LAYERS.Dense(3, use_bias=False)])
    (block,), inputs = measured(model, (2,), weights=weights)
    np.testing.assert_allclose(block.inputs, inputs[4:].T @ inputs[4:] / 8, rtol=1e-5)
    np.testing.assert_allclose(block.outputs, bound(), atol=1e-6)


def test_the_largest_eigenvalue_is_that_of_the_largest_block() -> None:
    small, large = block_of(np.diag([1.0, 2.0]), np.diag([3.0])), block_of(np.diag([5.0]), np.diag([0.5, 4.0, 2.0]))
    assert largest_eigenvalue([small]) == pytest.approx(6)
    assert largest_eigenvalue([small, large]) == largest_eigenvalue([large, small]) == pytest.approx(20)
    broken = block_of(np.diag([np.nan]), np.diag([1.0]))
    assert np.isnan(largest_eigenvalue([small, broken])) and np.isnan(largest_eigenvalue([broken, small]))


@pytest.mark.parametrize(("a", "g"), [(0.0, 0.0), (1.0, 0.0), (0.0, 4.0)])
def test_where_a_factor_is_zero_the_damping_stands_alone(a: float, g: float) -> None:
    head = Head(keras.Sequential([keras.Input((2,)), LAYERS.Dense(3, use_bias=False)]), "all")
    vector = np.arange(1.0, 7.0, dtype=np.float32)
    found = BlockSolver(head, [block_of(a * np.eye(2), g * np.eye(3))], damping=0.25)(tf.constant(vector))
    np.testing.assert_allclose(found, vector / 0.25, rtol=1e-6)
