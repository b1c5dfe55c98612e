"""The model's own weight penalties: part of an objective, and no part of a gradient difference."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from support.influence import objective_on
from support.small import blobs, small_model
from unlearning.influence import InfluenceProblem
from unlearning.influence.settings import FeatureSettings
from unlearning.task import Corrections, UnlearningTask


@pytest.mark.usefixtures("float64")
def test_a_penalty_is_left_out_where_it_cancels() -> None:
    split = blobs(8)
    plain = objective_on(small_model(), split)
    at, regularised = plain.head.parameters(), small_model(regulariser=keras.regularizers.L2(0.1))
    without, penalised = (objective_on(regularised, split, penalised=flag) for flag in (False, True))
    kernels = [value for value in plain.head.unflatten(at) if value.shape.rank == 2]
    penalty = 0.1 * sum(float(tf.reduce_sum(kernel**2)) for kernel in kernels)
    assert len(kernels) == 2 and penalty > 0.1
    assert float(without.loss(at)) == pytest.approx(float(plain.loss(at)))
    assert float(penalised.loss(at)) == pytest.approx(float(plain.loss(at)) + penalty)
    np.testing.assert_allclose(without.gradient(at), plain.gradient(at))


@pytest.mark.usefixtures("float64")
def test_a_difference_of_gradients_knows_no_penalty() -> None:
    split = blobs(12)
    task = UnlearningTask(split, Corrections(np.arange(3), (split.labels[:3] + 1) % 3), blobs(10, seed=1), 3)
    plain, penalised = (
        InfluenceProblem(small_model(regulariser=regulariser), task, FeatureSettings(feature_dtype="float64"))
        for regulariser in (None, keras.regularizers.L2(0.1))
    )
    found = penalised.right_hand_side(penalised.initial)
    np.testing.assert_allclose(found, plain.right_hand_side(plain.initial), atol=1e-12)
    right = small_model()(task.choosing.images).numpy().argmax(axis=-1) == task.choosing.labels
    assert 0 < right.mean() < 1
    assert plain.validation_score(plain.initial) == pytest.approx(right.mean())
