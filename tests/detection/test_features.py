"""Penultimate features by hand."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from support.detection import detect
from support.small import blobs, small_model
from unlearning.detection.features import penultimate_features
from unlearning.errors import InputError


class TestFeatures:
    @pytest.mark.parametrize("separate", [False, True])
    def test_numpy_oracle(self, separate: bool) -> None:
        inputs = keras.Input((2, 3, 1))
        hidden = keras.layers.Dense(5, activation="relu", name="hidden")(keras.layers.Flatten()(inputs))
        dropped = keras.layers.Dropout(0.9)(hidden)
        outputs = keras.layers.Dense(4, activation=None if separate else "softmax")(dropped)
        model = keras.Model(inputs, keras.layers.Softmax()(outputs) if separate else outputs)
        images = np.random.default_rng(0).standard_normal((11, 2, 3, 1)).astype(np.float32)
        kernel, bias = model.get_layer("hidden").get_weights()
        expected = np.maximum(images.reshape(11, 6) @ kernel + bias, 0)
        np.testing.assert_allclose(penultimate_features(model, images, batch_size=4), expected, atol=1e-6)

    def test_models_without_such_a_layer(self) -> None:
        class Subclassed(keras.Model):
            def call(self, x):
                return x

        images = np.zeros((2, 6, 6, 1), np.float32)
        with pytest.raises(InputError, match="Sequential or functional"):
            penultimate_features(Subclassed(), images)
        with pytest.raises(InputError, match="Dense layer of its own"):
            penultimate_features(keras.Sequential([keras.Input((6, 6, 1)), small_model()]), images)
        rows = keras.Sequential([keras.Input((6, 6, 1)), keras.layers.Dense(3), keras.layers.GlobalAveragePooling2D()])
        with pytest.raises(InputError, match="one feature vector"):
            penultimate_features(rows, images)
        with pytest.raises(InputError, match="Dense layer of logits"):
            inputs = keras.Input((6, 6, 1))
            scores = keras.layers.Dense(3, activation="relu")(keras.layers.Flatten()(inputs))
            detect("self-influence", keras.Model(inputs, scores), blobs(20))
