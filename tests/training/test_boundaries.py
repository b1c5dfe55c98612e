"""Places from which a model may move, and what that costs."""

import keras
import numpy as np
import pytest

from tests.support.small import small_model
from unlearning.interop import boundaries
from unlearning.training.boundaries import measure_boundaries


def residual() -> keras.Model:
    layers = keras.layers
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(4, 3, padding="same", name="stem")(inputs)
    for number in (1, 2):
        y = layers.Conv2D(4, 3, padding="same", name=f"first_{number}")(x)
        y = layers.Conv2D(4, 3, padding="same", name=f"second_{number}")(y)
        x = layers.Add(name=f"add_{number}")([x, y])
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, layers.Dense(3, name="scores")(x))


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.scores = keras.layers.Dense(3)

    def call(self, inputs):
        return self.scores(keras.ops.reshape(inputs, (-1, 36)))


class TestPlaces:
    def test_they_fall_from_all_layers_to_the_fewest(self):
        assert boundaries(small_model()) == [("all", "all"), ("head", "hidden"), ("logits", "logits")]

    def test_a_path_around_a_layer_leaves_it_out(self):
        found = [layer for _, layer in boundaries(residual())]
        assert found[0] == "all" and found[-1] == "scores"
        assert "first_1" in found and "second_1" not in found and "second_2" not in found

    def test_many_are_thinned_out_and_named_ones_stay(self):
        stack = [keras.layers.Dense(4, name=f"dense_{number}") for number in range(30)]
        found = boundaries(keras.Sequential([keras.Input((4,)), *stack]))
        assert len(found) <= 9 and found[0] == ("all", "all") and ("head", "dense_29") in found

    def test_without_a_graph_there_is_one(self):
        model = Subclassed()
        model(np.zeros((1, 6, 6, 1)))
        assert boundaries(model) == [("all", "all")]


@pytest.mark.parametrize("make", [small_model, residual])
def test_parameters_time_and_memory_are_those_of_the_part(make):
    model = make()
    found = {row.layer: row for row in measure_boundaries(model)}
    assert found["all"].parameters == found["all"].of == sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    assert found["all"].features_s == found["all"].memory_mb == 0
    *_, last = found.values()
    layer = model.layers[-1]
    assert last.layer == layer.name and last.parameters == layer.count_params()
    assert last.memory_mb == pytest.approx(1000 * 2 * layer.kernel.shape[0] / 1e6)  # in half precision
    assert all(row.epoch_s > 0 for row in found.values())
