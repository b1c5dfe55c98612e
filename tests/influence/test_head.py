"""Where a model is cut, and how it is put together again."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from support.influence import objective_on
from support.small import blobs, small_model
from unlearning.errors import InputError
from unlearning.influence import Head, RowStore


@keras.saving.register_keras_serializable("tests")
class Subclassed(keras.Model):
    """Two dense layers and a softmax without a graph."""

    def __init__(self, **options) -> None:
        super().__init__(**options)
        self.first = keras.layers.Dense(5, activation="tanh", name="first")
        self.second = keras.layers.Dense(3, activation="softmax", name="second")

    def build(self, shape) -> None:
        self.first.build((None, 36))
        self.second.build((None, 5))
        self.built = True

    def call(self, x):
        return self.second(self.first(keras.ops.reshape(x, (-1, 36))))


def two_paths() -> keras.Model:
    inputs = keras.Input((4,))
    left = keras.layers.Dense(3, name="left")(inputs)
    right = keras.layers.Dense(3, name="right")(keras.layers.Dense(5)(inputs))
    return keras.Model(inputs, keras.layers.Add()([left, right]))


class TestHead:
    def test_default_boundary_is_the_dense_head(self) -> None:
        head = Head(small_model())
        assert head.boundary == "hidden"
        assert ["/".join(v.path.split("/")[-2:]) for v in head.variables] == [
            "hidden/kernel",
            "hidden/bias",
            "logits/kernel",
            "logits/bias",
        ]

    def test_default_boundary_without_pooling_is_the_last_layer_with_weights(self) -> None:
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(5), keras.layers.Dense(3)])
        assert Head(model).boundary == model.layers[-1].name

    def test_global_pooling_counts(self) -> None:
        layers = keras.layers
        inputs = keras.Input((6, 6, 1))
        pooled = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(inputs))
        model = keras.Model(inputs, layers.Dense(3, name="top")(layers.Dropout(0.5)(pooled)))
        assert Head(model).boundary == "top"

    def test_all_updates_every_trainable_weight(self) -> None:
        model = small_model()
        head = Head(model, "all")
        assert head.size == sum(v.numpy().size for v in model.trainable_variables)
        assert not head.is_cached

    def test_repaired_writes_the_vector_and_leaves_the_input_alone(self) -> None:
        model = small_model(softmax=True)
        before = [w.copy() for w in model.get_weights()]
        head = Head(model)
        repaired = head.repaired(head.parameters() + 1.0)
        for old, now in zip(before, model.get_weights(), strict=True):
            np.testing.assert_array_equal(old, now)
        np.testing.assert_allclose(repaired.get_layer("logits").kernel, model.get_layer("logits").kernel + 1.0)
        np.testing.assert_array_equal(repaired.get_layer("conv").kernel, model.get_layer("conv").kernel)
        assert repaired.layers[-1].activation is keras.activations.softmax

    def test_a_softmax_layer_of_its_own_is_taken_off(self) -> None:
        inputs = keras.Input((6, 6, 1))
        logits = keras.layers.Dense(3, name="logits")(keras.layers.Flatten()(inputs))
        model = keras.Model(inputs, keras.layers.Softmax()(logits))
        head, split = Head(model), blobs(8)
        store = RowStore.from_images(head, [split.images])
        out = head.logits([v.value for v in head.variables], store.fetch(tf.range(8, dtype=tf.int64)))
        np.testing.assert_allclose(tf.nn.softmax(out), model(split.images), atol=1e-6)

    def test_a_softmax_inside_a_nested_model_is_undone_by_a_logarithm(self) -> None:
        inner = small_model(softmax=True)
        model = keras.Sequential([keras.Input((6, 6, 1)), inner])
        head, plain = Head(model, "all"), Head(inner, "all")
        images = tf.constant(blobs(8).images)
        logits = []
        for one in (head, plain):
            one.check(blobs(8).images, 3)
            logits.append(one.logits([v.value for v in one.variables], images))
        np.testing.assert_allclose(tf.nn.softmax(logits[0]), tf.nn.softmax(logits[1]), atol=1e-6)

    def test_subclassed_model(self) -> None:
        model = Subclassed()
        model(np.zeros((1, 6, 6, 1), np.float32))
        whole = Head(model, "all")
        whole.check(blobs(8).images, 3)
        last = Head(model, "second")
        assert last.size < whole.size
        images = tf.constant(blobs(8).images)
        np.testing.assert_allclose(
            tf.nn.softmax(whole.logits([v.value for v in whole.variables], images)), model(images), atol=1e-5
        )

    def test_mixed_precision_is_computed_in_float32(self) -> None:
        keras.config.set_dtype_policy("mixed_float16")
        try:
            model = small_model()
        finally:
            keras.config.set_dtype_policy("float32")
        objective = objective_on(model, blobs(20))
        assert objective.gradient(objective.head.parameters()).dtype == tf.float32
        assert objective.head.repaired(objective.head.parameters()).get_layer("hidden").compute_dtype == "float16"

    @pytest.mark.parametrize(
        ("make", "match"),
        [
            (lambda: Head(small_model(), "nowhere"), "trainable_from"),
            (lambda: Head(keras.Sequential([keras.layers.Dense(3)])), "built"),
            (lambda: Head(small_model(), "hidden").check(np.zeros((4, 5, 5, 1)), 3), "images"),
            (lambda: Head(small_model(), "hidden").check(np.zeros((4, 6, 6, 1)), 4), "4 outputs"),
            (lambda: Head(keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, "sigmoid")])), "two classes"),
            (lambda: Head(two_paths(), "right"), "Cannot cut"),
        ],
    )
    def test_bad_input(self, make, match: str) -> None:
        with pytest.raises(InputError, match=match):
            make()
