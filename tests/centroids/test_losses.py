"""Centroids, losses, clipping and schedule: golden values and properties."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from support.paths import GOLDEN as GOLDEN_FILES
from unlearning.centroids import losses
from unlearning.centroids.settings import PRESETS, CentroidSettings

GOLDEN = json.loads((GOLDEN_FILES / "fspmu.json").read_text())

EXPECTED = GOLDEN["expected"]
TEACHER, STUDENT, FEATURES = (tf.constant(GOLDEN["inputs"][n], tf.float64) for n in ("z_t", "z_s", "f"))
LABELS = np.array(GOLDEN["inputs"]["y"])


def golden_centroids() -> tf.Tensor:
    return losses.class_centroids(FEATURES, tf.nn.softmax(TEACHER))


def golden_cosines() -> tf.Tensor:
    return losses.cosines(FEATURES, golden_centroids())


def forget(cosine: tf.Tensor, kl: float, push: float, power: float = 2.0) -> tf.Tensor:
    divergence = losses.divergence(TEACHER, STUDENT)
    return losses.forget_loss(divergence, losses.push(cosine, power), kl=kl, push_factor=push)


def retain(cosine: tf.Tensor, ce: float, pull: float) -> tf.Tensor:
    entropy = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(LABELS, STUDENT))
    return losses.retain_loss(entropy, losses.alignment(cosine, losses.class_weights(LABELS, 3)), ce=ce, pull=pull)


class TestGolden:
    def test_centroids_cosines_and_weights(self) -> None:
        np.testing.assert_allclose(golden_centroids(), EXPECTED["centroids"], rtol=1e-9)
        np.testing.assert_allclose(golden_cosines(), EXPECTED["cos"], rtol=1e-9)
        np.testing.assert_allclose(losses.push_weights(golden_cosines()), EXPECTED["weights"], rtol=1e-9)

    @pytest.mark.parametrize(
        ("found", "key"),
        [
            (lambda c: losses.divergence(TEACHER, STUDENT), "kl_T05"),
            (lambda c: losses.push(c), "push_cosT05"),
            (lambda c: losses.push(c, 4.0), "push_cosT025"),
            (lambda c: losses.alignment(c, losses.class_weights(LABELS, 3)), "align"),
            (lambda c: forget(c, 1.0, 0.5), "forget_original"),
            (lambda c: forget(c, 1.0, 1.0), "forget_nll"),
            (lambda c: forget(c, 1.0, 0.5, 4.0), "forget_cosT025"),
            (lambda c: forget(c, 0.5, 0.0), "scrub_forget"),
            (lambda c: retain(c, 1.0, 0.0), "scrub_retain"),
            (lambda c: retain(c, 1.0, 500.0), "retain_original"),
            (lambda c: retain(c, 5.0, 1.0), "retain_nll"),
        ],
    )
    def test_losses(self, found, key: str) -> None:
        assert float(found(golden_cosines())) == pytest.approx(EXPECTED[key], rel=1e-9)

    @pytest.mark.parametrize(
        ("loss", "key"),
        [
            (lambda c: forget(c, 1.0, 0.5), "grad_feat_forget"),
            (lambda c: retain(c, 1.0, 500.0), "grad_feat_retain"),
        ],
    )
    def test_feature_gradients(self, loss, key: str) -> None:
        centroids = golden_centroids()
        with tf.GradientTape() as tape:
            tape.watch(FEATURES)
            value = loss(losses.cosines(FEATURES, centroids))
        np.testing.assert_allclose(tape.gradient(value, FEATURES), EXPECTED[key], rtol=1e-8)

    def test_learning_rates(self) -> None:
        assert [losses.learning_rate(epoch) for epoch in range(1, 16)] == pytest.approx(EXPECTED["lr"])

    def test_clipped_steps_with_decoupled_decay(self) -> None:
        """Clipping here, and clipping by the optimizer, are the same step."""
        for clipvalue in (None, 1.0):
            weights = keras.Variable([0.3, -2.0])
            optimizer = keras.optimizers.SGD(5e-4, momentum=0.9, weight_decay=5e-4, clipvalue=clipvalue)
            for rate, gradient in ((5e-4, [0.4, 5.0]), (5e-5, [-3.0, 0.2])):
                optimizer.learning_rate = rate
                gradients = [tf.constant(gradient)]
                if clipvalue is None:
                    gradients, share = losses.clip_elements(gradients, 1.0)
                    assert float(share) == 0.5
                optimizer.apply(gradients, [weights])
            np.testing.assert_allclose(weights, EXPECTED["sgd_keras_2steps"], rtol=1e-6)

    def test_presets_are_those_of_the_readme(self) -> None:
        factors = CentroidSettings(preset="original").factors()
        assert factors[:4] == (1.0, 0.5, 1.0, 500.0) == tuple(PRESETS["original"].values())
        assert CentroidSettings(preset="nll", retain_pull=2.0).factors()[:4] == (1.0, 1.0, 5.0, 2.0)


class TestProperties:
    def test_divergence_starts_flat(self) -> None:
        """Where the student still is the teacher there is nothing to climb: only the push moves such a network."""
        with tf.GradientTape() as tape:
            tape.watch(TEACHER)
            value = losses.divergence(tf.identity(TEACHER), TEACHER)
        assert float(value) == 0
        np.testing.assert_allclose(tape.gradient(value, TEACHER), 0, atol=1e-12)

    def test_weights_sum_to_one_or_vanish(self) -> None:
        cosine = tf.constant([[0.5, -0.9], [-0.1, -0.2], [0.0, 0.0]])
        np.testing.assert_allclose(tf.reduce_sum(losses.push_weights(cosine), -1), [1, 1, 0], atol=1e-6)
        np.testing.assert_allclose(losses.push_weights(cosine, 2.0, True), [[1, 0], [0, 0], [0, 0]], atol=1e-6)
        np.testing.assert_allclose(losses.push_weights(cosine[:, :1])[:2], 1)

    @pytest.mark.parametrize("loss", [lambda c: forget(c, 0.0, 1.0), lambda c: retain(c, 0.0, 1.0)])
    def test_only_directions_matter(self, loss) -> None:
        centroids, scale = golden_centroids(), tf.constant([[0.1], [2.0], [30.0], [1.0]], tf.float64)
        values = []
        for factor in (1.0, scale):
            with tf.GradientTape() as tape:
                tape.watch(FEATURES)
                values.append(loss(losses.cosines(factor * FEATURES, centroids)))
            gradient = tape.gradient(values[-1], FEATURES)
            np.testing.assert_allclose(tf.reduce_sum(gradient * FEATURES, -1), 0, atol=1e-12)
        assert float(values[0]) == pytest.approx(float(values[1]))

    def test_centroids_know_no_order_and_add_up(self) -> None:
        weights = tf.nn.softmax(TEACHER)
        order = [2, 0, 3, 1]
        mixed = losses.class_centroids(tf.gather(FEATURES, order), tf.gather(weights, order))
        np.testing.assert_allclose(mixed, golden_centroids(), rtol=1e-12)
        parts = losses.centroid_sums(FEATURES[:1], weights[:1]) + losses.centroid_sums(FEATURES[1:], weights[1:])
        np.testing.assert_allclose(tf.math.l2_normalize(parts, -1), golden_centroids(), rtol=1e-12)

    def test_hard_centroids_by_hand(self) -> None:
        features = np.array([[2.0, 0.0], [0.0, 3.0], [-1.0, 0.0]])
        found = losses.class_centroids(features, losses.class_weights(np.array([0, 0, 1]), 3))
        np.testing.assert_allclose(found, [[0.5**0.5, 0.5**0.5], [-1, 0], [0, 0]], atol=1e-7)

    @pytest.mark.parametrize("labels", [[2, 0], [[2], [0]], [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]])
    def test_labels_as_they_come(self, labels) -> None:
        np.testing.assert_array_equal(losses.class_weights(np.array(labels), 3), [[0, 0, 1], [1, 0, 0]])
