"""The refit of the last layer as a method."""

import keras
import numpy as np
import pytest

from tests.support.small import fitted, poisoned_task, small_model
from unlearning.errors import InputError
from unlearning.methods.last_layer import LastLayer


@pytest.mark.parametrize("solver", ["newton", "ridge", "scikit-learn"])
def test_only_the_last_layer_moves(solver):
    task, _ = poisoned_task(rows=300, flips=90)
    model = fitted(small_model(), task.train)
    outcome = LastLayer(solver=solver).unlearn(model, task)
    assert outcome.moved is not None and outcome.moved.layer == model.layers[-1].name
    for layer, before in zip(outcome.model.layers[:-1], model.layers[:-1], strict=True):
        for new, old in zip(layer.get_weights(), before.get_weights(), strict=True):
            np.testing.assert_array_equal(new, old)


def test_newton_and_the_library_agree():
    task, _ = poisoned_task(rows=300, flips=90)
    model = fitted(small_model(), task.train)
    settings = {"penalties": (0.01,), "iterations": 1000}
    found = [LastLayer(solver=solver, **settings).unlearn(model, task) for solver in ("newton", "scikit-learn")]
    scores = [outcome.model.predict(task.train.images, verbose=0) for outcome in found]
    chances = [np.exp(s - s.max(1, keepdims=True)) for s in scores]
    chances = [c / c.sum(1, keepdims=True) for c in chances]
    np.testing.assert_allclose(chances[0], chances[1], atol=1e-3)


def test_what_stands_behind_the_layer_must_be_a_softmax():
    task, _ = poisoned_task(rows=60, flips=20)
    inside = keras.layers.Dense(3, name="scores")
    model = keras.Sequential([keras.Input(task.train.images.shape[1:]), keras.layers.Flatten(), inside])
    model.add(keras.layers.Rescaling(-1.0))
    with pytest.raises(InputError, match="last dense layer"):
        LastLayer().unlearn(model, task)


def test_rows_say_what_it_is_told():
    assert LastLayer(rows="given").needs == frozenset() and not LastLayer(rows="given").needs_flagged
    assert LastLayer(rows="unflagged").needs == {"flagged"}
