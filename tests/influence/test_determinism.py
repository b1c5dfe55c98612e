"""Models that draw and data that change are refused before a product is made of them."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from support.small import blobs, poisoned_task, small_model
from unlearning import methods
from unlearning.errors import InputError
from unlearning.influence.determinism import check_images, check_model

IMAGES = blobs(30).images


def built(*layers, **options) -> keras.Model:
    """A functional classifier on 6x6 images whose hidden layers are called with options."""
    inputs = keras.Input((6, 6, 1))
    found = keras.layers.Flatten(name="flatten")(inputs)
    for layer in layers:
        found = layer(found, **options)
    return keras.Model(inputs, keras.layers.Dense(3, name="logits")(found))


class Jitter(keras.layers.Layer):
    """Draws whenever it is called."""

    def __init__(self, scale: float = 0.1, **options) -> None:
        super().__init__(**options)
        self.scale, self.draws = scale, keras.random.SeedGenerator(0)

    def call(self, inputs):
        return inputs + self.scale * keras.random.normal(keras.ops.shape(inputs), seed=self.draws)

    def get_config(self) -> dict:
        return {**super().get_config(), "scale": self.scale}


class Always(keras.layers.Layer):
    """A layer that is told of inference and does not listen."""

    def __init__(self, inner: keras.layers.Layer, **options) -> None:
        super().__init__(**options)
        self.inner = inner

    def call(self, inputs):
        return self.inner(inputs, training=True)


class Subclassed(keras.Model):
    """Monte Carlo dropout, as it is usually written."""

    def __init__(self) -> None:
        super().__init__()
        self.flatten, self.dropout, self.dense = (
            keras.layers.Flatten(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(3),
        )

    def call(self, inputs, training=False):
        return self.dense(self.dropout(self.flatten(inputs), training=True))


def subclassed() -> keras.Model:
    model = Subclassed()
    model(IMAGES[:1])
    return model


class Shuffling(np.ndarray):
    """Answers every question with rows of its own choice."""

    calls = 0

    def __getitem__(self, rows):
        type(self).calls += 1
        found = np.asarray(self)
        return found[(np.arange(len(found))[rows] + self.calls) % len(found)]


LAYERS = keras.layers
DRAWING = {
    "dropout": (lambda: built(Always(LAYERS.Dropout(0.5), name="drop")), "layer 'drop' draws"),
    "augmentation": (lambda: built(Always(LAYERS.GaussianNoise(0.1), name="noise")), "layer 'noise' draws"),
    "custom": (lambda: built(Jitter(name="jitter")), "layer 'jitter' draws"),
    "nested": (lambda: built(keras.Sequential([Jitter()], name="inner")), "layer 'inner' draws"),
    "subclassed": (subclassed, "Subclassed.call draws"),
    "batch": (lambda: built(Always(LAYERS.BatchNormalization(), name="norm")), "layer 'norm' mixes"),
}


class TestModels:
    @pytest.mark.parametrize("kind", DRAWING)
    def test_what_differs_is_named(self, kind: str) -> None:
        make, match = DRAWING[kind]
        with pytest.raises(InputError, match=match):
            check_model(make(), IMAGES)

    @pytest.mark.parametrize(
        "model",
        [
            lambda: small_model(),
            lambda: small_model(softmax=True),
            lambda: built(LAYERS.Dropout(0.5), LAYERS.BatchNormalization(), LAYERS.GaussianNoise(1.0)),
            lambda: built(Jitter(scale=0.0)),
            # Keras itself turns these off where a graph is called with training=False.
            lambda: built(LAYERS.Dropout(0.5), LAYERS.BatchNormalization(), training=True),
        ],
    )
    def test_the_usual_layers_pass(self, model) -> None:
        check_model(model(), IMAGES)
        check_model(model(), IMAGES[:1])

    def test_answers_that_are_not_finite_are_left_to_others(self) -> None:
        model = small_model()
        model.set_weights([np.full_like(w, np.nan) for w in model.get_weights()])
        check_model(model, IMAGES)

    @pytest.mark.parametrize("name", ["first-order", "second-order", "ssd"])
    def test_no_method_takes_products_of_such_a_model(self, name: str) -> None:
        task, _ = poisoned_task(rows=60, flips=10, validation=40)
        with pytest.raises(InputError, match="'jitter' draws at random"):
            methods.get(name).unlearn(built(Jitter(name="jitter"), LAYERS.Dense(4)), task)


class TestImages:
    def test_rows_that_change_are_named(self) -> None:
        with pytest.raises(InputError, match="two of row 0"):
            check_images(IMAGES.view(Shuffling))

    def test_arrays_pass(self) -> None:
        check_images(IMAGES)
        check_images(np.full((3, 2, 2, 1), np.nan))
        check_images(IMAGES[:1])
