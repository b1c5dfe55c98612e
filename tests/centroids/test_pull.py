"""The centroid pull around an ordinary `fit`: its loss by hand, its falling rate, its centroids, its labels."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from support.centroids import plain_model
from unlearning.centroids.callback import FeatureSpaceUnlearning
from unlearning.errors import InputError
from unlearning.streams import stream
from unlearning.task import REMOVED, Split
from unlearning.training.pace import Budget

KEPT = np.arange(60, 240)


def copy_of(source: keras.Model, optimizer: keras.optimizers.Optimizer | None = None) -> keras.Model:
    model = plain_model()
    model.set_weights(source.get_weights())
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=optimizer or keras.optimizers.SGD(0.05), loss=loss)
    return model


class Peek(keras.callbacks.Callback):
    """Notes rates, and the weights after the last step, before the best ones are put back."""

    def __init__(self) -> None:
        super().__init__()
        self.rates: list[float] = []
        self.weights: list[np.ndarray] = []

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.rates.append(float(self.model.optimizer.learning_rate))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.weights = self.model.get_weights()


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def centroids_of(model: keras.Model, split: Split, rows: np.ndarray) -> np.ndarray:
    kernel, bias = (weight.astype(np.float64) for weight in model.get_weights()[:2])
    features = unit(np.tanh(split.images[rows].reshape(len(rows), -1) @ kernel + bias))
    return unit(np.stack([features[split.labels[rows] == k].sum(0) for k in range(3)]))


def test_a_step_by_hand(poisoned) -> None:
    """Loss, gradient and step from NumPy alone: cross-entropy less 20 times the mean cosine."""
    source, task = poisoned
    model, peek, pull, rate = copy_of(source), Peek(), 20.0, 0.05
    unlearning = FeatureSpaceUnlearning(
        task.train, task.validation, task.corrections.rows, learning_rate=rate, batch_size=180
    )
    log = model.fit(unlearning.retain_batches(), callbacks=[unlearning, peek], verbose=0)

    images = task.train.images[KEPT].reshape(180, -1).astype(np.float64)
    labels, rows = task.train.labels[KEPT], np.arange(180)
    kernel, bias, upper, offset = (weight.astype(np.float64) for weight in source.get_weights())
    mu = centroids_of(source, task.train, KEPT)
    np.testing.assert_allclose(unlearning.reports[0].centroids, mu, atol=1e-5)
    features = np.tanh(images @ kernel + bias)
    length = np.linalg.norm(features, axis=1, keepdims=True)
    cosine = np.sum(features / length * mu[labels], axis=1, keepdims=True)
    logits = features @ upper + offset
    probabilities = np.exp(logits - logits.max(1, keepdims=True))
    probabilities /= probabilities.sum(1, keepdims=True)
    entropy = -np.log(probabilities[rows, labels]).mean()
    assert log.history["loss"][0] == pytest.approx(entropy - pull * cosine.mean(), rel=1e-4)
    assert log.history["retain_alignment"][0] == pytest.approx(cosine.mean(), rel=1e-4)

    at_logits = (probabilities - np.eye(3)[labels]) / 180
    at_features = at_logits @ upper.T - pull / 180 * (mu[labels] - cosine * features / length) / length
    at_hidden = at_features * (1 - features**2)
    gradients = [images.T @ at_hidden, at_hidden.sum(0), features.T @ at_logits, at_logits.sum(0)]
    for found, old, gradient in zip(peek.weights, (kernel, bias, upper, offset), gradients, strict=True):
        np.testing.assert_allclose(found, old - rate * gradient, atol=1e-5)


def test_the_rate_falls_with_every_step_and_only_the_end_is_scored(poisoned) -> None:
    source, task = poisoned
    optimizer, peek = keras.optimizers.Adam(0.3), Peek()
    model = copy_of(source, optimizer)
    unlearning = FeatureSpaceUnlearning(
        task.train, task.validation, task.corrections.rows, learning_rate=0.02, batch_size=60
    )
    model.fit(unlearning.retain_batches(), epochs=4, callbacks=[unlearning, peek], verbose=0)
    np.testing.assert_allclose(peek.rates, 0.02 * (1 - np.arange(12) / 12), rtol=1e-5)
    assert float(optimizer.learning_rate) == pytest.approx(0.3)
    report = unlearning.reports[0]
    assert report.applied and report.best_epoch == 4
    assert [row["learning_rate"] for row in report.history] == [None, 0.02]
    assert (
        report.validation_accuracy_after
        == report.history[1]["validation_accuracy"]
        > report.history[0]["validation_accuracy"]
    )
    for found, wanted in zip(model.get_weights(), peek.weights, strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert report.work.gradient_rows == 4 * 180


def test_it_falls_from_the_optimizers_own_rate(poisoned) -> None:
    source, task = poisoned
    model, peek = copy_of(source, keras.optimizers.Adam(0.01)), Peek()
    unlearning = FeatureSpaceUnlearning(
        task.train, task.validation, task.corrections.rows, learning_rate=None, batch_size=90
    )
    model.fit(unlearning.retain_batches(), callbacks=[unlearning, peek], verbose=0)
    np.testing.assert_allclose(peek.rates, [0.01, 0.005], rtol=1e-5)


def test_a_budget_ends_it(poisoned) -> None:
    """A clock on which every look takes a while: the rate falls with it, and `fit` stops."""

    class Clock(Budget):
        now = 0.0

        @property
        def spent(self) -> float:
            self.now += 0.01
            return min(self.now, 1.0)

    source, task = poisoned
    model, peek = copy_of(source), Peek()
    unlearning = FeatureSpaceUnlearning(
        task.train, task.validation, task.corrections.rows, batch_size=60, budget=Clock(), learning_rate=1.0
    )
    model.fit(unlearning.retain_batches(), epochs=1000, callbacks=[unlearning, peek], verbose=0)
    assert 5 < len(peek.rates) < 100
    assert all(b < a for a, b in zip(peek.rates[1:], peek.rates[2:], strict=False)) and peek.rates[-1] < 0.1
    assert len(unlearning.reports[0].history) == 2


def test_centroids_are_of_a_sample(poisoned) -> None:
    source, task = poisoned
    model = copy_of(source)
    unlearning = FeatureSpaceUnlearning(task.train, task.validation, task.corrections.rows, seed=7, centroid_rows=50)
    model.fit(unlearning.retain_batches(), callbacks=[unlearning], verbose=0)
    chosen = stream(7, "method", "centroid rows").permutation(KEPT)[:50]
    found = unlearning.reports[0].centroids
    np.testing.assert_allclose(found, centroids_of(source, task.train, chosen), atol=1e-5)
    assert np.abs(found - centroids_of(source, task.train, KEPT)).max() > 1e-3


class TestRightLabels:
    def test_rows_with_one_join_and_the_centroids_are_of_the_others(self, poisoned) -> None:
        source, task = poisoned
        order = np.random.default_rng(0).permutation(60)
        right = np.where(order < 40, task.corrections.labels[order], REMOVED)
        unlearning = FeatureSpaceUnlearning(task.train, task.validation, order, right_labels=right, batch_size=240)
        images, labels = unlearning.retain_batches()[0]
        wanted = task.train.labels.copy()
        wanted[:40] = task.corrections.labels[:40]
        kept = np.r_[0:40, 60:240]
        assert len(images) == len(kept)
        both = {image.tobytes(): label for image, label in zip(images, labels, strict=True)}
        assert all(both[task.train.images[row].tobytes()] == wanted[row] for row in kept)

        model = copy_of(source)
        model.fit(unlearning.retain_batches(), callbacks=[unlearning], verbose=0)
        report = unlearning.reports[0]
        np.testing.assert_allclose(report.centroids, centroids_of(source, task.train, KEPT), atol=1e-5)
        assert report.forget_rows.tolist() == list(range(40, 60))
        assert report.details()["corrected_count"] == 40 and report.details()["retain_count"] == 220

    def test_all_rows_may_be_flagged_where_they_are_corrected(self, poisoned) -> None:
        source, task = poisoned
        rows = np.arange(240)
        unlearning = FeatureSpaceUnlearning(
            task.train, task.validation, rows, right_labels=task.train.labels, preset="original"
        )
        copy_of(source).fit(unlearning.retain_batches(), callbacks=[unlearning], verbose=0)
        found = unlearning.reports[0]
        np.testing.assert_allclose(found.centroids, centroids_of(source, task.train, rows), atol=1e-5)
        assert found.history[-1]["forget_kl"] is None, "nobody is left to forget"

    @pytest.mark.parametrize(
        ("rows", "labels"),
        [([1, 2], [0]), ([1, 1], [0, 0]), ([1, 2], [0.5, 1.0]), ([1, 2], [0, -2])],
        ids=["too few", "twice", "no integers", "no class"],
    )
    def test_bad_labels(self, poisoned, rows: list, labels: list) -> None:
        _, task = poisoned
        with pytest.raises(InputError, match="right_labels"):
            FeatureSpaceUnlearning(task.train, task.validation, np.array(rows), right_labels=np.array(labels))


def test_data_without_a_number_of_batches_are_refused(poisoned) -> None:
    source, task = poisoned
    model = copy_of(source)
    unlearning = FeatureSpaceUnlearning(task.train, task.validation, task.corrections.rows)

    def endless():
        while True:
            yield task.train.images[KEPT], task.train.labels[KEPT]

    with pytest.raises(InputError, match=r"schedule.*how many batches"):
        model.fit(endless(), steps_per_epoch=None, epochs=1, callbacks=[unlearning], verbose=0)
    unlearning.release()
    assert "compute_loss" not in model.__dict__
