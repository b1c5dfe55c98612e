"""Logits wherever a softmax may hide, in every precision, and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from support.small import blobs
from unlearning.errors import InputError
from unlearning.evaluation import label_loss, predict_probabilities, probabilities
from unlearning.influence import Head
from unlearning.interop import as_logit_model, copy_model, gives_probabilities, outputs_probabilities

IMAGES = blobs(12).images
POLICIES = ("float32", "mixed_float16", "mixed_bfloat16", "float16", "bfloat16")


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    before = keras.config.dtype_policy()
    yield
    keras.config.set_dtype_policy(before)


def trunk() -> list[layers.Layer]:
    return [layers.Flatten(), layers.Dense(5, activation="tanh", name="hidden")]


def functional(end: Callable) -> keras.Model:
    inputs = tensor = keras.Input((6, 6, 1), name="images")
    for layer in trunk():
        tensor = layer(tensor)
    return keras.Model(inputs, end(tensor))


def nested(*wrapped: Callable[[keras.Model], keras.Model]) -> keras.Model:
    model = keras.Sequential([keras.Input((6, 6, 1)), *trunk(), layers.Dense(3, activation="softmax", name="scores")])
    for wrap in wrapped:
        model = wrap(model)
    return model


def in_sequential(model: keras.Model) -> keras.Model:
    return keras.Sequential([keras.Input((6, 6, 1)), model, layers.Activation("linear", dtype="float32")])


def in_functional(model: keras.Model) -> keras.Model:
    inputs = keras.Input((6, 6, 1), name="images")
    return keras.Model(inputs, model(layers.Rescaling(1.0)(inputs)))


ENDINGS: dict[str, Callable[[], keras.Model]] = {
    "an activation": nested,
    "an activation of a functional model": lambda: functional(layers.Dense(3, "softmax")),
    "a layer": lambda: functional(lambda x: layers.Softmax(name="softmax")(layers.Dense(3)(x))),
    "a layer with an axis": lambda: functional(lambda x: layers.Softmax(axis=1)(layers.Dense(3)(x))),
    "a layer in a Sequential": lambda: keras.Sequential(
        [keras.Input((6, 6, 1)), *trunk(), layers.Dense(3), layers.Softmax()]
    ),
    "an Activation layer": lambda: functional(lambda x: layers.Activation("softmax")(layers.Dense(3)(x))),
    "an operation": lambda: functional(lambda x: ops.softmax(layers.Dense(3)(x))),
    "an operation with an axis": lambda: functional(lambda x: ops.softmax(layers.Dense(3)(x), axis=1)),
    "a function": lambda: functional(lambda x: keras.activations.softmax(layers.Dense(3)(x))),
    "an activation given as a function": lambda: functional(layers.Dense(3, keras.ops.softmax)),
    "an activation before a cast": lambda: functional(
        lambda x: layers.Activation("linear", dtype="float32")(layers.Dense(3, "softmax")(x))
    ),
    "an operation before a cast": lambda: functional(lambda x: ops.cast(ops.softmax(layers.Dense(3)(x)), "float32")),
    "a convolution": lambda: keras.Sequential(
        [keras.Input((6, 6, 1)), layers.Conv2D(3, 6, activation="softmax"), layers.Flatten()]
    ),
    "a nested Sequential": lambda: nested(in_sequential),
    "a nested functional model": lambda: in_functional(functional(lambda x: ops.softmax(layers.Dense(3)(x)))),
    "a model nested twice": lambda: nested(in_functional, in_sequential),
    "a model nested three times": lambda: nested(in_sequential, in_functional, in_sequential),
}


def built(make: Callable[[], keras.Model], policy: str = "float32", size: float = 1.0) -> keras.Model:
    """A model under a policy; `size` multiplies its weights, which sets its logits apart."""
    keras.config.set_dtype_policy(policy)
    keras.utils.set_random_seed(0)
    model = make()
    # What float16 and bfloat16 both hold exactly, so that all policies have the same weights.
    values = [np.round(64 * size * np.asarray(w, np.float32)) / 64 for w in model.get_weights()]
    model.set_weights(values)
    keras.config.set_dtype_policy("float32")
    return model


def exact(model: keras.Model, twin: keras.Model) -> np.ndarray:
    """The float64 log-probabilities of the float32 twin, whose softmax is taken off by hand."""
    twin.set_weights([np.asarray(w, np.float32) for w in model.get_weights()])
    scores = np.asarray(as_logit_model(twin)(IMAGES), np.float64)
    return (
        scores
        - np.log(np.exp(scores - scores.max(-1, keepdims=True)).sum(-1, keepdims=True))
        - scores.max(-1, keepdims=True)
    )


class TestRecovered:
    @pytest.mark.parametrize("ending", ENDINGS)
    def test_the_softmax_of_the_logits_is_what_the_model_says(self, ending: str) -> None:
        model = built(ENDINGS[ending], size=4)
        work = as_logit_model(model)
        assert gives_probabilities(model, IMAGES, 3) and not gives_probabilities(work, IMAGES, 3)
        logits = np.asarray(work(IMAGES))
        assert logits.min() < 0
        np.testing.assert_allclose(ops.softmax(logits), model(IMAGES), atol=1e-6)

    @pytest.mark.parametrize("ending", ENDINGS)
    def test_names_and_weights_are_those_of_the_model(self, ending: str) -> None:
        model = built(ENDINGS[ending])
        work = as_logit_model(model)

        def named(part) -> list[str]:
            return [layer.name for layer in part._flatten_layers() if layer.weights or layer is not part]

        assert [layer.name for layer in work.layers if layer.weights] == [
            layer.name for layer in model.layers if layer.weights
        ]
        assert {layer.name for layer in model.layers} <= set(named(work))
        for a, b in zip(model.get_weights(), work.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)

    @pytest.mark.parametrize("ending", ENDINGS)
    @pytest.mark.parametrize("policy", ["mixed_float16", "bfloat16"])
    def test_a_repaired_model_is_as_it_was_but_for_its_weights(self, ending: str, policy: str) -> None:
        model = built(ENDINGS[ending], policy)
        head = Head(model, "all")
        head.check(IMAGES, 3)
        assert head.dtype == tf.float32
        same = head.repaired(head.parameters())
        assert same.get_config() == model.get_config()
        assert [a.dtype for a in same.weights] == [a.dtype for a in model.weights]
        np.testing.assert_array_equal(
            np.asarray(same(IMAGES), np.float32), np.asarray(model(IMAGES), np.float32), strict=True
        )
        other = head.repaired(head.parameters() + 0.5)
        for old, new in zip(model.get_weights(), other.get_weights(), strict=True):
            np.testing.assert_allclose(
                np.asarray(new, np.float32), np.asarray(old, np.float32) + 0.5, rtol=1e-2, atol=1e-2
            )

    @pytest.mark.parametrize("policy", POLICIES)
    @pytest.mark.parametrize("ending", ["an activation", "an operation before a cast", "a model nested twice"])
    def test_every_precision_gives_the_losses_of_float32(self, ending: str, policy: str) -> None:
        """Logits are tens apart: float16 knows no probability below 6e-8, a loss of 17."""
        model = built(ENDINGS[ending], policy, size=30)
        expected = exact(model, built(ENDINGS[ending], size=30))
        assert expected.min() < -40
        work = as_logit_model(model)
        assert {w.dtype for w in work.weights} == {"float32"}
        logits = tf.nn.log_softmax(tf.cast(work(IMAGES), tf.float64))
        np.testing.assert_allclose(logits, expected, atol=1e-4 if policy == "float32" else 1e-2)
        for label in range(3):
            losses = label_loss(predict_probabilities(model, IMAGES), np.full(len(IMAGES), label))
            np.testing.assert_allclose(losses, -expected[:, label], atol=1e-4 if policy == "float32" else 1e-2)

    def test_a_nested_model_has_the_gradients_of_a_flat_one(self) -> None:
        from support.influence import objective_on

        flat = built(nested, size=10)
        deep = built(lambda: nested(in_functional, in_sequential), size=10)
        vectors = []
        for model in (flat, deep):
            objective = objective_on(model, blobs(12), trainable_from="all")
            at = objective.head.parameters()
            direction = tf.constant(np.random.default_rng(0).standard_normal(at.shape), at.dtype)
            product = tf.function(objective.product("gauss-newton"))(at, direction)
            vectors.append(np.concatenate([objective.gradient(at), product]))
        np.testing.assert_allclose(vectors[1], vectors[0], rtol=1e-5, atol=1e-6)


class TestStructure:
    def test_logits_that_sum_to_one_are_logits(self) -> None:
        inputs = keras.Input((3,))
        dense = layers.Dense(3, use_bias=False)
        model = keras.Model(inputs, dense(inputs))
        dense.kernel.assign(np.eye(3))
        rows = np.random.default_rng(0).dirichlet([1, 1, 1], 20).astype(np.float32)
        assert outputs_probabilities(np.asarray(model(rows)))  # to the eye
        assert not gives_probabilities(model, rows, 3)
        found = predict_probabilities(model, rows)
        np.testing.assert_allclose(found, np.exp(rows) / np.exp(rows).sum(-1, keepdims=True), rtol=1e-6)

    def test_a_mean_of_probabilities_is_judged_by_its_numbers(self) -> None:
        def ensemble(x):
            return layers.Average()([layers.Dense(3, "softmax")(x) for _ in range(3)])

        assert gives_probabilities(built(lambda: functional(ensemble)), IMAGES, 3)
        assert not gives_probabilities(
            built(lambda: functional(lambda x: layers.Average()([layers.Dense(3)(x) for _ in range(2)]))), IMAGES, 3
        )

    def test_a_softmax_that_is_used_twice_stays(self) -> None:
        shared = layers.Softmax()

        def end(x):
            gate = shared(layers.Dense(5)(x))
            return shared(layers.Dense(3)(layers.Multiply()([x, gate])))

        model = built(lambda: functional(end))
        assert gives_probabilities(as_logit_model(model), IMAGES, 3)
        head = Head(model, "all")
        head.check(IMAGES, 3)
        logits = head.logits([v.value for v in head.variables], tf.constant(IMAGES))
        np.testing.assert_allclose(tf.nn.softmax(logits), model(IMAGES), atol=1e-6)

    def test_a_softmax_within_the_model_stays(self) -> None:
        def end(x):
            return layers.Dense(3)(layers.Multiply()([x, layers.Dense(5, "softmax")(x)]))

        model = built(lambda: functional(end))
        np.testing.assert_allclose(as_logit_model(model)(IMAGES), model(IMAGES), atol=1e-6)

    @pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
    def test_rounded_probabilities_look_like_probabilities(self, dtype: str) -> None:
        scores = np.random.default_rng(0).dirichlet(np.full(100, 0.05), 500)
        assert outputs_probabilities(ops.convert_to_numpy(ops.cast(scores, dtype)))
        assert not outputs_probabilities(ops.convert_to_numpy(ops.cast(1.1 * scores, dtype)))

    def test_zero_in_half_precision_is_a_loss_of_what_it_can_tell(self) -> None:
        found = probabilities(np.array([[1, 0]], np.float16))
        assert label_loss(found, np.array([1]))[0] == pytest.approx(24 * np.log(2), rel=1e-3)


@keras.saving.register_keras_serializable("tests")
class Plain(keras.Model):
    """A dense layer, and probabilities by whatever `end` says, without a graph."""

    def __init__(self, end: str, **options) -> None:
        super().__init__(**options)
        self.end = end
        self.scores = layers.Dense(3, activation="softmax" if end == "layer" else None, name="scores")

    def build(self, shape) -> None:
        self.scores.build((None, 36))
        self.built = True

    def call(self, x):
        scores = self.scores(ops.reshape(x, (-1, 36)))
        if self.end == "layer":
            return scores
        if self.end == "operation":
            return ops.softmax(scores)
        parts = ops.exp(ops.cast(scores, "float32") - ops.max(ops.cast(scores, "float32"), axis=-1, keepdims=True))
        return ops.cast(parts / ops.sum(parts, axis=-1, keepdims=True), self.end)

    def get_config(self):
        return {**super().get_config(), "end": self.end}


class TestSubclassed:
    @staticmethod
    def model(end: str, size: float) -> keras.Model:
        keras.utils.set_random_seed(0)
        model = Plain(end)
        model.build((None, 6, 6, 1))
        model.set_weights([size * w for w in model.get_weights()])
        return model

    @staticmethod
    def product(model: keras.Model) -> np.ndarray:
        from support.influence import objective_on

        objective = objective_on(model, blobs(12), trainable_from="all", smoothing=0.1)
        at = objective.head.parameters()
        direction = tf.constant(np.random.default_rng(0).standard_normal(at.shape), at.dtype)
        return np.asarray(tf.function(objective.product("gauss-newton"))(at, direction))

    @pytest.mark.parametrize(
        ("end", "size"), [("layer", 60.0), ("operation", 60.0), ("layer", 1.0), ("float32", 20.0), ("float32", 1.0)]
    )
    def test_products_are_those_of_the_logits(self, end: str, size: float) -> None:
        """Logits that Keras has kept are exact at any distance; a logarithm of float32 is good for what it can hold."""
        model = self.model(end, size)
        flat = keras.Sequential([keras.Input((6, 6, 1)), layers.Flatten(), layers.Dense(3)])
        flat.set_weights(model.get_weights())
        expected = self.product(flat)
        error = np.linalg.norm(self.product(model) - expected) / np.linalg.norm(expected)
        assert error < 1e-5
        if size > 1:
            assert np.asarray(model(IMAGES)).min() < 1e-12  # where the logarithm once had its floor

    @pytest.mark.parametrize(
        ("end", "size", "match"),
        [
            ("float16", 1.0, "probabilities in float16"),
            ("bfloat16", 1.0, "probabilities in bfloat16"),
            ("float32", 100.0, "as small as 0"),
        ],
    )
    def test_what_has_lost_its_logits_is_refused(self, end: str, size: float, match: str) -> None:
        with pytest.raises(InputError, match=f"Plain.call.*{match}"):
            Head(self.model(end, size), "all").check(IMAGES, 3)

    def test_a_copy_computes_as_the_model_does(self) -> None:
        keras.config.set_dtype_policy("mixed_float16")
        model = self.model("layer", 1.0)
        keras.config.set_dtype_policy("float32")
        assert copy_model(model).scores.compute_dtype == "float16"
        assert as_logit_model(model).scores.compute_dtype == "float32"
