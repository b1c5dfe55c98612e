"""Short trainings on class weights by one traced step: Adam's own steps, with the pull where there is one."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from support.small import blobs, small_model
from unlearning.centroids import losses
from unlearning.centroids.steps import CentroidSteps


@pytest.fixture
def rows() -> tuple[np.ndarray, np.ndarray]:
    split = blobs(30)
    return split.images, np.eye(3, dtype="float32")[split.labels]


def by_hand(images: np.ndarray, weights: np.ndarray, pull: float, steps: int) -> list[np.ndarray]:
    """The same by Keras' optimizer and a loss that is written out."""
    model = small_model()
    *lower, head = model.layers
    features = keras.Sequential([keras.Input((6, 6, 1)), *lower])
    sums = losses.centroid_sums(features(images, training=False), weights)
    centroids = tf.math.l2_normalize(sums, axis=-1)
    optimizer = keras.optimizers.Adam(0.01)
    for _ in range(steps):
        with tf.GradientTape() as tape:
            inner = features(images, training=True)
            logits = head(inner)
            loss = tf.reduce_mean(keras.losses.categorical_crossentropy(weights, logits, from_logits=True))
            cosine = tf.reduce_sum(tf.math.l2_normalize(inner, axis=-1) @ tf.transpose(centroids) * weights, axis=-1)
            loss -= pull * tf.reduce_mean(cosine)
        variables = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
    return model.get_weights()


@pytest.mark.parametrize("pull", [0.0, 3.0])
def test_a_step_is_that_of_the_loss_written_out(rows, pull: float) -> None:
    images, weights = rows
    model = small_model()
    steps = CentroidSteps(model, 3, closed=False)
    steps.start(pull)
    steps.measure([(images[:20], weights[:20]), (images[20:], weights[20:])])
    for _ in range(3):
        steps.step(images, weights, 0.01)
    names = [weight.path for weight in model.weights]
    for name, ours, theirs in zip(names, model.get_weights(), by_hand(images, weights, pull, 3), strict=True):
        if not name.endswith("conv/bias"):  # no gradient but roundings, which Adam scales up
            np.testing.assert_allclose(ours, theirs, atol=5e-5, err_msg=name)


def test_another_training_starts_afresh_and_soft_weights_are_taken(rows) -> None:
    images, weights = rows
    soft = 0.8 * weights + 0.2 / 3
    model = small_model()
    start, found = model.get_weights(), []
    steps = CentroidSteps(model, 3, closed=False)
    for _ in range(2):
        model.set_weights(start)
        steps.start()
        for rate in (0.01, 0.005):
            steps.step(images, soft, rate)
        found.append(model.get_weights())
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


def test_without_a_dense_layer_there_is_nothing_to_pull(rows) -> None:
    images, weights = rows
    layers = keras.layers
    pooled = keras.Sequential([keras.Input((6, 6, 1)), layers.Conv2D(3, 3), layers.GlobalAveragePooling2D()])
    steps = CentroidSteps(pooled, 3, closed=False)
    assert not steps.can_pull
    before = [w.copy() for w in pooled.get_weights()]
    steps.start(5.0)
    steps.measure([(images, weights)])
    steps.step(images, weights, 0.01)
    assert any(not np.array_equal(a, b) for a, b in zip(before, pooled.get_weights(), strict=True))
