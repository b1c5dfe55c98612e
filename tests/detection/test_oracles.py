"""Scores against brute force."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from support.detection import FLIPS, detect
from support.small import blobs, small_model
from unlearning.detection.features import penultimate_features
from unlearning.evaluation import predict, probabilities
from unlearning.streams import stream_seed
from unlearning.task import Split


class TestOracles:
    @pytest.mark.parametrize("softmax", [False, True])
    @pytest.mark.parametrize("bias", [False, True])
    def test_self_influence_is_the_gradient_of_each_row(self, float64, softmax: bool, bias: bool) -> None:
        keras.utils.set_random_seed(1)
        last = keras.layers.Dense(3, activation="softmax" if softmax else None, use_bias=bias)
        model = keras.Sequential(
            [keras.Input((6, 6, 1)), keras.layers.Flatten(), keras.layers.Dense(4, activation="tanh"), last]
        )
        split = blobs(12)
        expected = []
        for image, label in zip(split.images, split.labels, strict=True):
            with tf.GradientTape() as tape:
                loss = keras.losses.sparse_categorical_crossentropy(
                    np.array([label]), model(image[np.newaxis]), from_logits=not softmax
                )
            parts = tape.gradient(loss, last.trainable_variables)
            expected.append(np.sqrt(sum(np.sum(np.square(part)) for part in parts)))
        found = detect("self-influence", model, split)
        np.testing.assert_allclose(found.scores, expected, rtol=2e-5)

    def test_self_influence_in_the_metric_of_the_features(self, planted) -> None:
        model, split, _ = planted
        features = penultimate_features(model, split.images).astype(np.float64)
        rows = np.hstack([features, np.ones((len(features), 1))])
        moment = rows.T @ rows / len(rows)
        inverse = np.linalg.inv(moment + 0.3 * np.trace(moment) / len(moment) * np.eye(len(moment)))
        errors = probabilities(predict(model, split.images)) - np.eye(3)[split.labels]
        expected = np.sqrt((errors**2).sum(1) * np.array([row @ inverse @ row for row in rows]))
        found = detect("self-influence", model, split, curvature=True, damping=0.3)
        np.testing.assert_allclose(found.scores, expected, rtol=1e-8)

    @pytest.mark.parametrize("metric", ["cosine", "euclidean"])
    @pytest.mark.parametrize("weighted", [False, True])
    def test_neighbours_by_brute_force(self, planted, metric: str, weighted: bool) -> None:
        model, split, _ = planted
        x = penultimate_features(model, split.images).astype(np.float64)
        if metric == "cosine":
            unit = x / np.linalg.norm(x, axis=1, keepdims=True)
            distances = 1 - unit @ unit.T
        else:
            distances = np.sqrt(((x[:, np.newaxis] - x) ** 2).sum(-1))
        np.fill_diagonal(distances, np.inf)
        nearest = np.argsort(distances, axis=1)[:, :9]
        near = np.take_along_axis(distances, nearest, 1)
        weights = 1 / np.maximum(near, 1e-6 * near.mean()) if weighted else np.ones_like(near)
        differs = split.labels[nearest] != split.labels[:, np.newaxis]
        expected = (weights * differs).sum(1) / weights.sum(1)
        found = detect("neighbours", model, split, neighbours=9, metric=metric, weighted=weighted)
        close = np.isclose(found.scores, expected, atol=1e-2)
        assert close.mean() > 0.99  # float32 features: near ties may go to another neighbour
        assert roc_auc_score(np.arange(400) < FLIPS, found.scores) > 0.95

    def test_cross_validation_by_hand(self, planted) -> None:
        model, split, _ = planted
        x, p = penultimate_features(model, split.images), np.zeros((400, 3))
        for seen, unseen in StratifiedKFold(4, shuffle=True, random_state=stream_seed(5, "detector", "folds")).split(
            x, split.labels
        ):
            judge = make_pipeline(StandardScaler(), LogisticRegression(C=0.5, max_iter=300))
            p[unseen] = judge.fit(x[seen], split.labels[seen]).predict_proba(x[unseen])
        found = detect("cross-validation", model, split, seed=5, folds=4, inverse_penalty=0.5)
        np.testing.assert_allclose(found.scores, -np.log(p[np.arange(400), split.labels]), rtol=1e-9)
        np.testing.assert_array_equal(found.suggested_labels, p.argmax(1))

    def test_classes_without_or_with_few_rows(self) -> None:
        split = blobs(90)
        labels = split.labels.copy()
        labels[labels == 1] = 2
        labels[0] = 1  # the only row of its class: never seen by the probe that judges it
        found = detect("cross-validation", small_model(5), Split(split.images, labels), classes=5)
        assert np.isfinite(found.scores).all() and found.scores.argmax() == 0
        assert set(found.suggested_labels) <= {0, 2}
