"""Token sequences: masks, recurrent layers, embeddings. Every method runs, with the derivatives of the model."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from unlearning import methods
from unlearning.influence import Head, Objective, RowStore
from unlearning.influence.squares import SquaredGradients
from unlearning.task import Corrections, Split, UnlearningTask

LENGTH, TOKENS, CLASSES = 6, 12, 3


def embedded(*rest: layers.Layer) -> keras.Model:
    keras.utils.set_random_seed(0)
    start = [keras.Input((LENGTH,)), layers.Embedding(TOKENS, 4, mask_zero=True, name="embedding")]
    return keras.Sequential([*start, *rest, layers.Dense(CLASSES, name="scores")])


def attending() -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((LENGTH,))
    tokens = layers.Embedding(TOKENS, 4, mask_zero=True, name="embedding")(inputs)
    tokens = layers.MultiHeadAttention(2, 2, name="mixed")(tokens, tokens)
    return keras.Model(inputs, layers.Dense(CLASSES, name="scores")(layers.GlobalAveragePooling1D()(tokens)))


def masking() -> keras.Model:
    keras.utils.set_random_seed(0)
    start = [keras.Input((LENGTH,)), layers.Reshape((LENGTH, 1)), layers.Masking(0.0)]
    return keras.Sequential([*start, layers.SimpleRNN(3, name="mixed"), layers.Dense(CLASSES, name="scores")])


MODELS: dict[str, Callable[[], keras.Model]] = {
    "gru": lambda: embedded(layers.GRU(2, name="mixed")),
    "lstm": lambda: embedded(layers.LSTM(2, return_sequences=True, name="mixed"), layers.LSTM(2)),
    "plain": lambda: embedded(layers.SimpleRNN(2, name="mixed")),
    "bidirectional": lambda: embedded(layers.Bidirectional(layers.SimpleRNN(2), name="mixed")),
    "dropped": lambda: embedded(layers.Dropout(0.2, name="mixed"), layers.SimpleRNN(2)),
    "pooled": lambda: embedded(layers.GlobalAveragePooling1D(name="mixed")),
    "attention": attending,
    "masking": masking,
}
# Gates and loops take long to differentiate twice; the plain loop is masked by the same code.
LONG = {"gru", "lstm", "bidirectional", "dropped"}
KINDS = [pytest.param(kind, marks=[pytest.mark.slow] * (kind in LONG)) for kind in MODELS]


def sentences(rows: int, seed: int = 0) -> Split:
    """Token numbers of shape `(rows, length)`, the first of which tells the class; zeros after the last token."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, rows)
    tokens = rng.integers(1, TOKENS, (rows, LENGTH))
    tokens[:, 0] = labels + 1
    tokens[np.arange(LENGTH) >= rng.integers(2, LENGTH + 1, rows)[:, None]] = 0
    return Split(tokens, labels)


def objective_on(model: keras.Model, split: Split, boundary: str) -> Objective:
    head = Head(model, boundary)
    head.check(split.images, CLASSES)
    return Objective(head, RowStore.from_images(head, [split.images]), np.arange(len(split)), split.labels)


class TestDerivatives:
    @pytest.mark.parametrize("kind", KINDS)
    def test_products_are_those_of_explicit_derivatives(self, kind: str) -> None:
        model, split = MODELS[kind](), sentences(3)
        objective = objective_on(model, split, "all")
        head, at = objective.head, objective.head.parameters()
        direction = tf.constant(np.random.default_rng(1).standard_normal(head.size), tf.float32)
        images = tf.constant(split.images, tf.float32)

        # One logit at a time, uncompiled: compiling a Jacobian of loops takes most of a minute.
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(at)
            found = head.logits(head.unflatten(at), images)
            single = [[found[row, k] for k in range(CLASSES)] for row in range(len(split))]
        slopes = np.array([[tape.gradient(logit, at) for logit in row] for row in single], np.float64)
        logits = np.asarray(found, np.float64)
        given = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        change = slopes @ np.asarray(direction, np.float64)
        pulled = given * (change - (given * change).sum(-1, keepdims=True))
        expected = np.einsum("rk,rkp->p", pulled, slopes) / len(split)
        product = tf.function(objective.product("gauss-newton"))(at, direction)
        np.testing.assert_allclose(product, expected, rtol=1e-3, atol=1e-5)

        step = 1e-2 * direction / tf.norm(direction)
        turned = (objective.gradient(at + step) - objective.gradient(at - step)) / 2
        hessian = tf.function(objective.product("hessian"))(at, step)
        assert float(tf.norm(turned - hessian)) < 0.02 * float(tf.norm(hessian))

    @pytest.mark.parametrize("kind", ["plain", pytest.param("bidirectional", marks=pytest.mark.slow), "pooled"])
    def test_squared_gradients_are_those_of_single_rows(self, kind: str) -> None:
        model, split = MODELS[kind](), sentences(3)
        head = Head(model, "all")
        store = RowStore.from_images(head, [split.images])
        found = SquaredGradients(head, store, split.labels, batch_rows=2).mean(np.arange(3))
        rows = [objective_on(model, split.subset(np.array([row])), "all") for row in range(3)]
        expected = np.mean([np.square(one.gradient(head.parameters())) for one in rows], axis=0)
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-8)

    @pytest.mark.parametrize("kind", MODELS)
    def test_a_boundary_in_front_of_a_masked_layer(self, kind: str) -> None:
        """The mask comes from the tokens: such a head takes these, and says what the model says."""
        model, split = MODELS[kind](), sentences(8)
        head = Head(model, "mixed")
        assert not head.is_cached
        assert all("embedding" not in v.path for v in head.variables)
        head.check(split.images, CLASSES)
        logits = head.logits([v.value for v in head.variables], tf.constant(split.images, tf.float32))
        np.testing.assert_allclose(logits, model(split.images), atol=1e-6)


ONE_SOLVE = {"steps": 1, "dampings": (0.1,), "step_lengths": (1.0,), "cg_iterations": 3, "power_iterations": 2}
# What differentiates through the loops of a recurrent layer has one; the others, beside fine-tuning, only train or
# project a model that has masks.
METHODS = [
    ("gru", "second-order", ONE_SOLVE),
    *(
        pytest.param(
            kind, "second-order", {**ONE_SOLVE, "trainable_from": "mixed", "solver": "cg"}, marks=pytest.mark.slow
        )
        for kind in ("plain", "gru")
    ),
    ("plain", "first-order", {"trainable_from": "all"}),
    ("plain", "sap", {}),
    ("plain", "fine-tuning", {"epochs": 1}),
    ("pooled", "fspmu", {"epochs": 1}),
    ("pooled", "scrub", {"epochs": 1}),
    ("pooled", "retraining", {"epochs": 1}),
    pytest.param(
        *(
            "bidirectional",
            "second-order",
            {**ONE_SOLVE, "trainable_from": "all", "solver": "cg", "curvature": "hessian"},
        ),
        marks=pytest.mark.slow,
    ),
    pytest.param("bidirectional", "ssd", {"alphas": (3.0,), "shares": ()}, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("kind", "name", "options"), METHODS)
def test_every_method_takes_masked_sequences(kind: str, name: str, options: dict) -> None:
    train, validation = sentences(30), sentences(20, seed=1)
    given = train.labels.copy()
    given[:6] = (given[:6] + 1) % CLASSES
    corrections = Corrections(np.arange(6), train.labels[:6])
    task = UnlearningTask(Split(train.images, given), corrections, validation, CLASSES)
    outcome = methods.get(name, options).unlearn(MODELS[kind](), task)
    assert outcome.validation_accuracy_after >= outcome.validation_accuracy_before
    assert outcome.model(train.images).shape == (30, CLASSES)
