"""The part above a boundary does on activations what the whole model does on images."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from unlearning.activations import UpperPart, movable, upper_part
from unlearning.architectures import ARCHITECTURES
from unlearning.errors import InputError
from unlearning.evaluation import predict
from unlearning.interop import choose_boundary, copy_model, cut, moved_parameters
from unlearning.task import Split


def part_of(model: keras.Model, layer: str, **options) -> UpperPart:
    return UpperPart(cut(model, model.get_layer(layer)), **options)


@pytest.fixture
def model() -> keras.Model:
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((6, 6, 1)),
            keras.layers.Conv2D(4, 3, name="low"),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.ReLU(),
            keras.layers.Dropout(0.5),
            keras.layers.Flatten(name="flat"),
            keras.layers.Dense(8, activation="relu", name="hidden"),
            keras.layers.Dense(3, name="scores"),
        ]
    )


IMAGES = np.random.default_rng(0).normal(size=(1100, 6, 6, 1)).astype("float32")


class TestPart:
    @pytest.mark.parametrize("layer", ["norm", "flat", "scores"])
    def test_it_predicts_as_the_whole_does(self, model, layer):
        part = part_of(model, layer, dtype="float32")
        np.testing.assert_allclose(predict(part.model, part.activations(IMAGES)), predict(model, IMAGES), atol=1e-5)

    def test_half_precision_is_near(self, model):
        part = part_of(model, "flat")
        found = part.activations(IMAGES)
        assert found.dtype == np.float16
        np.testing.assert_allclose(predict(part.model, found), predict(model, IMAGES), atol=1e-2)

    def test_what_half_precision_cannot_hold_is_kept_in_full(self, model):
        part = part_of(model, "flat")
        found = part.activations(1e6 * IMAGES)
        assert found.dtype == np.float32
        assert np.isfinite(found).all()

    def test_what_is_not_a_number_stays_one(self, model):
        images = IMAGES[:3].copy()
        images[1] = np.nan
        found = part_of(model, "flat").activations(images)
        assert np.isnan(found[1]).any() and np.isfinite(found[[0, 2]]).all()

    def test_above_the_limit_they_live_on_disk_in_equal_numbers(self, model):
        part = part_of(model, "flat", memory_limit_bytes=1000)
        found = part.activations(IMAGES)
        assert isinstance(found, np.memmap)
        np.testing.assert_array_equal(found, part_of(model, "flat").activations(IMAGES))

    def test_the_whole_moves_with_its_part(self, model):
        part = part_of(model, "hidden")
        below = model.get_layer("low").get_weights()
        part.model.set_weights([weight + 1 for weight in part.model.get_weights()])
        assert np.abs(predict(model, IMAGES[:5]) - predict(part.model, part.activations(IMAGES[:5]))).max() < 0.05
        for now, before in zip(model.get_layer("low").get_weights(), below, strict=True):
            np.testing.assert_array_equal(now, before)


class TestSeparable:
    def test_there_must_be_something_below(self, model):
        assert upper_part(model, "flat") is not None
        assert upper_part(model, "low") is None
        assert upper_part(model, "all") is None

    def test_a_path_beside_the_layer_is_refused(self):
        inputs = keras.Input((4,))
        first = keras.layers.Dense(4, name="first")(inputs)
        second = keras.layers.Dense(4, name="second")(first)
        model = keras.Model(inputs, keras.layers.Add()([inputs, second]))
        with pytest.raises(InputError, match="every path"):
            upper_part(model, "second")

    def test_a_model_without_a_graph_is_whole(self):
        class Own(keras.Model):
            def __init__(self):
                super().__init__()
                self.only = keras.layers.Dense(3, name="only")

            def call(self, inputs):
                return self.only(inputs)

        model = Own()
        model(IMAGES[:1].reshape(1, -1))
        assert upper_part(model, "only") is None


def test_splits_keep_their_labels_beside_activations(model):
    part = part_of(model, "flat")
    labels = np.arange(10) % 3
    split = Split(part.activations(IMAGES[:10]), labels)
    assert len(split.subset(np.array([1, 2])).images) == 2


class TestMovable:
    def test_everything_moves_without_a_boundary(self, model):
        found = movable(model, None, cached=True)
        assert found.model is model and found.layer == "all" and found.upper is None

    def test_a_part_takes_activations(self, model):
        split = Split(IMAGES[:9], np.arange(9) % 3)
        found = movable(model, "head", cached=True)
        assert found.layer == "hidden"
        rows = found.rows(split)
        np.testing.assert_array_equal(rows.labels, split.labels)
        np.testing.assert_allclose(predict(found.model, rows.images), predict(model, split.images), atol=1e-2)

    def test_without_a_cache_what_lies_below_is_frozen(self, model):
        found = movable(model, "hidden", cached=False)
        assert found.model is model
        assert sorted({v.path.split("/")[-2] for v in model.trainable_variables}) == ["hidden", "scores"]

    def test_what_does_the_same_at_every_time_runs_below(self):
        layers = keras.layers
        model = keras.Sequential(
            [
                keras.Input((6, 6, 1)),
                layers.Conv2D(4, 3, padding="same", name="low"),
                layers.MaxPooling2D(name="pool"),
                layers.ReLU(name="relu"),
                layers.Dropout(0.5, name="dropout"),
                layers.Flatten(name="flat"),
                layers.Dense(3),
            ]
        )
        found = movable(model, "pool", cached=True)
        assert found.layer == "pool" and found.model.input_shape == (None, 3, 3, 4)
        assert [layer.name for layer in found.model.layers][1] == "dropout"
        rows = found.rows(Split(IMAGES[:9], np.zeros(9, int)))
        np.testing.assert_allclose(predict(found.model, rows.images), predict(model, IMAGES[:9]), atol=1e-2)

    def test_nor_does_it_where_activations_would_grow(self):
        layers = keras.layers
        model = keras.Sequential(
            [
                keras.Input((2,)),
                layers.Dense(4),
                layers.Reshape((2, 2, 1), name="shape"),
                layers.UpSampling2D(4),
                layers.Conv2D(2, 3),
                layers.Flatten(),
                layers.Dense(3),
            ]
        )
        assert movable(model, "shape", cached=True).model.input_shape == (None, 4)


class TestMiddle:
    def test_it_is_behind_the_second_of_three_blocks(self):
        model = ARCHITECTURES.load("cnn_small")((8, 8, 1), 10, 16.0)
        assert choose_boundary(model, "middle") == "pool_2"

    def test_shortcuts_are_no_stages_of_their_own(self):
        """Two stages, each with a shortcut: the cut is in front of what the first stage begins with."""
        layers = keras.layers
        inputs = keras.Input((8, 8, 1))
        tensor = layers.Conv2D(4, 3, padding="same", name="stem")(inputs)
        for stage in (1, 2):
            inner = layers.Conv2D(4, 3, strides=2, padding="same", name=f"main_{stage}")(tensor)
            tensor = layers.Add()([inner, layers.Conv2D(4, 1, strides=2, name=f"shortcut_{stage}")(tensor)])
        outputs = layers.Dense(3)(layers.GlobalAveragePooling2D()(tensor))
        model = keras.Model(inputs, outputs)
        first = choose_boundary(model, "middle")
        assert first in ("main_1", "shortcut_1") and movable(model, "middle", cached=True).layer == first

    @pytest.mark.parametrize(("beside", "found"), [("stem", "flat"), ("inputs", "flat"), ("nothing", "pool")])
    def test_the_next_place_is_taken_where_a_path_leads_past(self, beside: str, found: str):
        layers = keras.layers
        inputs = keras.Input((8, 8, 1))
        stem = layers.Conv2D(4, 3, padding="same", name="stem")(inputs)
        tensor = layers.MaxPooling2D(name="pool")(layers.Conv2D(4, 3, padding="same", name="inner")(stem))
        if beside != "nothing":
            past = layers.AveragePooling2D(2)({"stem": stem, "inputs": inputs}[beside])
            tensor = layers.Concatenate(name="join")([tensor, past])
        outputs = layers.Dense(3, name="top")(layers.Flatten(name="flat")(tensor))
        model = keras.Model(inputs, outputs)
        assert choose_boundary(model, "middle") == found
        movable(model, "middle", cached=False)
        assert {v.path.split("/")[-2] for v in model.trainable_variables} == {"top"}

    def test_what_does_not_train_is_below(self, model):
        backbone = keras.Sequential(model.layers[:3], name="backbone")
        backbone.trainable = False
        whole = keras.Sequential(
            [keras.Input((6, 6, 1)), backbone, keras.layers.Flatten(), keras.layers.Dense(3, name="top")]
        )
        assert choose_boundary(whole, "middle") == "top"

    def test_all_moves_where_there_is_no_such_place(self):
        layers = keras.layers
        plain = keras.Sequential([keras.Input((4,)), layers.Dense(4), layers.Dense(3)])
        first = keras.Sequential([keras.Input((6, 6, 1)), layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(3)])
        assert choose_boundary(plain, "middle") == choose_boundary(first, "middle") == "all"

        class Own(keras.Model):
            def call(self, inputs):
                return inputs

        assert choose_boundary(Own(), "middle") == "all"

    def test_a_layer_of_that_name_is_meant(self, model):
        named = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4), keras.layers.Dense(3, name="middle")])
        assert choose_boundary(named, "middle") == "middle"
        with pytest.raises(InputError, match="'middle'"):
            choose_boundary(model, "centre")


class TestMoved:
    def test_what_changed_is_counted_by_variable(self, model):
        other = copy_model(model, IMAGES[:5])
        assert moved_parameters(model, other) == (0, model.count_params() - 8, None)
        kernel = other.get_layer("hidden").kernel
        kernel.assign(kernel + tf.one_hot([0], 64, axis=0)[:, :1])  # one entry of the kernel; the bias stays
        assert moved_parameters(model, other) == (64 * 8, model.count_params() - 8, "hidden")

    def test_another_network_has_moved_nowhere(self, model):
        other = keras.Sequential([keras.Input((6, 6, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])
        assert moved_parameters(model, other) is None
