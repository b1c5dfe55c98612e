"""Objectives for noisy labels: formulas by NumPy, shared weights, determinism, resuming, bad input."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from support.paths import ROOT
from unlearning.errors import InputError
from unlearning.training import ShuffledBatches
from unlearning.training.objectives import (
    DEFAULTS,
    OBJECTIVES,
    GeneralizedLabelSmoothing,
    LogitClip,
    MentorMixModel,
    MentorNetModel,
    MixUp,
    SharpnessAwareModel,
    prepare,
)

LOGITS = np.random.default_rng(0).normal(0, 2, (6, 4)).astype("float32")
LABELS = np.array([0, 3, 1, 1, 2, 0])
needs_tensorflow = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="SAM needs TensorFlow")


def cross_entropy() -> keras.losses.Loss:
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def linear_model(inputs: int = 5, classes: int = 3) -> keras.Model:
    keras.utils.set_random_seed(1)
    return keras.Sequential([keras.Input((inputs,)), keras.layers.Dense(classes)])


def image_model() -> keras.Model:
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((2, 2, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(6),
            keras.layers.BatchNormalization(),
            keras.layers.Activation("relu"),
            keras.layers.Dropout(0.1),
            keras.layers.Dense(2),
        ]
    )


def blobs(rows: int = 100, noise: float = 0.1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    truth = np.arange(rows) % 2
    images = rng.normal(0, 0.5, (rows, 2, 2, 1)) + (2 * truth - 1)[:, None, None, None]
    given = np.where(rng.random(rows) < noise, 1 - truth, truth)
    return images.astype("float32"), given, truth


def linear_data(rows: int = 8) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    return rng.standard_normal((rows, 5)).astype("float32"), rng.integers(0, 3, rows)


def softmax(logits: np.ndarray) -> np.ndarray:
    exponents = np.exp(logits - logits.max(-1, keepdims=True))
    return exponents / exponents.sum(-1, keepdims=True)


def row_losses(x: np.ndarray, y: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    return -np.log(softmax(x @ kernel + bias)[np.arange(len(y)), y])


def gradient(
    x: np.ndarray, y: np.ndarray, kernel: np.ndarray, bias: np.ndarray, weights: Any = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Of the mean of weighted cross-entropies of a linear softmax model."""
    error = (softmax(x @ kernel + bias) - np.eye(kernel.shape[1])[y]) * np.reshape(weights, (-1, 1)) / len(y)
    return x.T @ error, error.sum(0)


def slope(loss: keras.losses.Loss, labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """The gradient of a loss by central differences in float64."""
    result = np.zeros(logits.shape)
    for index in np.ndindex(*logits.shape):
        for sign in (1, -1):
            moved = logits.astype("float64")
            moved[index] += sign * 1e-5
            result[index] += sign * float(loss(labels, moved)) / 2e-5
    return result


# Losses


@pytest.mark.parametrize("rate", [0.2, 0.0, -0.6, -4.0])
@pytest.mark.parametrize("labels", [LABELS, LABELS[:, None], np.eye(4, dtype="float32")[LABELS]])
def test_label_smoothing_is_its_formula(rate: float, labels: np.ndarray) -> None:
    surprise = -np.log(softmax(LOGITS))
    expected = (1 - rate) * surprise[np.arange(6), LABELS] + rate * surprise.mean(-1)
    loss = GeneralizedLabelSmoothing(rate)
    np.testing.assert_allclose(loss(labels, LOGITS), expected.mean(), rtol=1e-5)
    np.testing.assert_allclose(
        GeneralizedLabelSmoothing(rate, reduction="none")(labels, LOGITS), expected, rtol=1e-4, atol=1e-5
    )


def test_label_smoothing_of_soft_labels_and_its_relatives() -> None:
    soft = softmax(LOGITS[::-1] / 3)
    keras_loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.3)
    np.testing.assert_allclose(GeneralizedLabelSmoothing(0.3)(soft, LOGITS), keras_loss(soft, LOGITS), rtol=1e-5)
    np.testing.assert_allclose(GeneralizedLabelSmoothing(0)(LABELS, LOGITS), cross_entropy()(LABELS, LOGITS), rtol=1e-5)


@pytest.mark.parametrize("rate", [0.2, -0.6])
def test_label_smoothing_has_the_gradient_of_smoothed_labels(rate: float) -> None:
    """It is p minus the smoothed label; with a negative rate the other classes get a negative share."""
    smoothed = (1 - rate) * np.eye(4)[LABELS] + rate / 4
    found = slope(GeneralizedLabelSmoothing(rate, dtype="float64"), LABELS, LOGITS)
    np.testing.assert_allclose(found, (softmax(LOGITS.astype("float64")) - smoothed) / 6, atol=1e-7)


def test_logit_clip_shortens_long_logits_only() -> None:
    logits = np.array([[3.0, 4.0, 0.0], [0.3, 0.0, 0.4], [0.0, 2.0, 0.0]], "float32")
    labels = np.array([0, 2, 1])
    shorter = np.array([[1.2, 1.6, 0.0], [0.3, 0.0, 0.4], [0.0, 2.0, 0.0]])
    expected = -np.log(softmax(shorter)[np.arange(3), labels])
    np.testing.assert_allclose(LogitClip(2.0, reduction="none")(labels, logits), expected, rtol=1e-5)
    np.testing.assert_allclose(LogitClip(2.0)(np.eye(3)[labels], logits), expected.mean(), rtol=1e-5)
    np.testing.assert_allclose(LogitClip(9.0)(labels, logits), cross_entropy()(labels, logits), rtol=1e-5)


def test_logit_clip_is_bounded() -> None:
    wrong = np.array([[-1e6, 1e6, 0.0]], "float32")
    assert float(LogitClip(1.0)(np.array([0]), wrong)) <= np.log(1 + 2 * np.exp(np.sqrt(2)))


@needs_tensorflow
@pytest.mark.parametrize("scale", [0.0, 1e-3, 1.0, 50.0])
def test_logit_clip_gradient_is_finite(scale: float) -> None:
    import tensorflow as tf

    logits = tf.constant(LOGITS * scale)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = LogitClip(1.0)(LABELS, logits)
    found = tape.gradient(loss, logits).numpy()
    assert np.isfinite(found).all() and np.abs(found).max() > 0
    if scale == 0:
        np.testing.assert_allclose(found, (0.25 - np.eye(4)[LABELS]) / 6, atol=1e-6)
    else:
        expected = slope(LogitClip(1.0, dtype="float64"), LABELS, LOGITS * scale)
        np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("loss", [GeneralizedLabelSmoothing(-0.3), LogitClip(1.5)])
def test_losses_survive_saving(loss: keras.losses.Loss) -> None:
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert type(again) is type(loss) and again.get_config() == loss.get_config()


@pytest.mark.parametrize("loss", [GeneralizedLabelSmoothing(0.2), LogitClip(1.0)])
def test_losses_take_half_precision(loss: keras.losses.Loss) -> None:
    half = float(loss(LABELS, LOGITS.astype("float16")))
    np.testing.assert_allclose(half, float(loss(LABELS, LOGITS)), rtol=1e-2)


# MixUp


class Plain(keras.utils.PyDataset):
    def __init__(self, *batch: np.ndarray) -> None:
        super().__init__()
        self.batch = batch

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        return self.batch


def batches(**kwargs: Any) -> ShuffledBatches:
    images, labels, _ = blobs(50)
    return ShuffledBatches(images, labels, batch_size=16, seed=4, **kwargs)


def epoch_of(data: keras.utils.PyDataset) -> list[tuple[np.ndarray, np.ndarray]]:
    return [data[i] for i in range(len(data))]


def same(a: list[tuple[np.ndarray, np.ndarray]], b: list[tuple[np.ndarray, np.ndarray]]) -> bool:
    pairs = zip(a, b, strict=True)
    return all(np.array_equal(x, other_x) and np.array_equal(y, other_y) for (x, y), (other_x, other_y) in pairs)


def test_mixup_depends_on_seed_epoch_and_batch_alone() -> None:
    data = MixUp(batches(augment=False), 0.5, num_classes=2, seed=7)
    assert len(data) == 4
    first = epoch_of(data)
    assert same(first, epoch_of(data))
    assert same([data[2]], [first[2]]), "the order of access should not matter"
    data.on_epoch_end()
    second = epoch_of(data)
    assert not same(first, second)
    data.start_at(0)
    assert same(first, epoch_of(data))
    assert same(second, epoch_of(MixUp(batches(), 0.5, num_classes=2, seed=7, epoch=1)))
    assert not same(first, epoch_of(MixUp(batches(), 0.5, num_classes=2, seed=8)))


def test_mixup_blends_rows_with_one_share_a_batch() -> None:
    """Every image is a one of its own position, so that a blend shows what it is made of."""
    labels = np.arange(9) % 3
    x, y = MixUp(Plain(np.eye(9), labels), 1.0, num_classes=3, seed=1)[0]
    assert x.dtype == y.dtype == np.float32
    np.testing.assert_allclose(y.sum(-1), 1, atol=1e-6)
    np.testing.assert_allclose(y, x @ np.eye(3)[labels], atol=1e-6)
    blended = np.diag(x) < 1
    assert blended.sum() > 5
    share = np.diag(x)[blended]
    np.testing.assert_array_equal(share, share[0])
    np.testing.assert_allclose(x.sum(0), 1, atol=1e-6, err_msg="partners should be a permutation")
    np.testing.assert_array_equal(np.count_nonzero(x, axis=-1), 1 + blended)


def test_mixup_without_blending_only_encodes_labels() -> None:
    for (images, labels), (x, y) in zip(epoch_of(batches()), epoch_of(MixUp(batches(), 0, num_classes=2)), strict=True):
        np.testing.assert_array_equal(x, images)
        np.testing.assert_array_equal(y, np.eye(2)[labels])


def test_mixup_turns_bytes_into_floats() -> None:
    images = np.full((6, 2, 2, 1), 255, "uint8")
    x, _ = MixUp(ShuffledBatches(images, np.arange(6) % 2, batch_size=6), 1.0, num_classes=2)[0]
    assert x.dtype == np.float32
    np.testing.assert_allclose(x, 255, rtol=1e-6)


# Sharpness-aware minimisation


@needs_tensorflow
@pytest.mark.parametrize("rho", [0.5, 0.0])
def test_sam_step_by_hand(rho: float) -> None:
    x, y = linear_data()
    model = linear_model()
    kernel, bias = (w.astype("float64") for w in model.get_weights())
    g = gradient(x, y, kernel, bias)
    norm = np.sqrt(sum((part**2).sum() for part in g))
    uphill = gradient(x, y, *(w + rho * part / (norm + 1e-12) for w, part in zip((kernel, bias), g, strict=True)))
    sharp = SharpnessAwareModel(model, rho)
    sharp.compile(keras.optimizers.SGD(0.3), loss=cross_entropy(), metrics=["accuracy"])
    history = sharp.fit(x, y, batch_size=8, verbose=0).history
    for found, before, step in zip(model.get_weights(), (kernel, bias), uphill, strict=True):
        np.testing.assert_allclose(found, before - 0.3 * step, atol=1e-6)
    np.testing.assert_allclose(history["loss"], row_losses(x, y, kernel, bias).mean(), rtol=1e-5)
    np.testing.assert_allclose(history["accuracy"], ((x @ kernel + bias).argmax(-1) == y).mean())


@needs_tensorflow
def test_sam_leaves_frozen_layers_alone_and_works_with_adam() -> None:
    images, labels, _ = blobs()
    model = image_model()
    model.layers[1].trainable = False
    before = model.layers[1].get_weights()
    sharp = SharpnessAwareModel(model)
    sharp.compile("adam", loss=cross_entropy())
    sharp.fit(images, labels, verbose=0)
    for a, b in zip(before, model.layers[1].get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@needs_tensorflow
def test_sam_under_mixed_precision_scales_its_loss() -> None:
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = linear_model()
    finally:
        keras.config.set_dtype_policy("float32")
    x, y = linear_data()
    sharp = SharpnessAwareModel(model)
    sharp.compile(keras.optimizers.SGD(0.1), loss=cross_entropy())
    assert type(sharp.optimizer).__name__ == "LossScaleOptimizer"
    history = sharp.fit(x, y, epochs=8, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]


# MentorNet and MentorMix


def test_mentornet_step_and_threshold_by_hand() -> None:
    x, y = linear_data(10)
    model = linear_model()
    careful = MentorNetModel(model, quantile=0.7, ema=0.25)
    careful.compile(keras.optimizers.SGD(0.2), loss=cross_entropy(), metrics=["accuracy"])
    threshold = 0.0
    for _ in range(3):
        kernel, bias = (w.astype("float64") for w in model.get_weights())
        losses = row_losses(x, y, kernel, bias)
        threshold = 0.25 * threshold + 0.75 * np.sort(losses)[7]
        kept = losses < threshold
        assert 0 < kept.sum() < 10
        step = gradient(x, y, kernel, bias, kept)
        history = careful.fit(x, y, batch_size=10, shuffle=False, verbose=0).history
        np.testing.assert_allclose(careful.threshold.numpy(), threshold, rtol=1e-5)
        np.testing.assert_allclose(history["loss"], (losses * kept).sum() / 10, rtol=1e-5)
        for found, before, part in zip(model.get_weights(), (kernel, bias), step, strict=True):
            np.testing.assert_allclose(found, before - 0.2 * part, atol=1e-6)
    assert int(careful.batches_seen) == 3
    np.testing.assert_allclose(
        careful.evaluate(x, y, verbose=0)[0], row_losses(x, y, *model.get_weights()).mean(), rtol=1e-5
    )
    assert int(careful.batches_seen) == 3 and np.isclose(careful.threshold.numpy(), threshold)


@pytest.mark.parametrize(("rows", "quantile"), [(20, 0.85), (100, 0.85), (10, 0.7), (1, 0.85), (500, 0.29)])
def test_threshold_takes_the_row_python_would(rows: int, quantile: float) -> None:
    careful = MentorNetModel(linear_model(), quantile=quantile, ema=0.0)
    careful._keep(keras.ops.cast(np.random.default_rng(0).permutation(rows), "float32"), careful.threshold)
    assert float(careful.threshold.numpy()) == int(rows * quantile)


def test_mentornet_drops_rows_from_the_gradient() -> None:
    """Rows with a large loss make no difference to the step, as long as their loss stays large."""
    x, y = linear_data(10)
    model = linear_model()
    start = model.get_weights()
    careful = MentorNetModel(model, quantile=0.5, ema=0.0)
    careful.compile(keras.optimizers.SGD(0.2), loss=cross_entropy())
    losses = row_losses(x, y, *start)
    limit = np.sort(losses)[5]
    moved = x.copy()
    moved[losses > limit] *= 1.5
    assert (row_losses(moved, y, *start)[losses > limit] > limit).all()
    results = []
    for images in (x, moved):
        model.set_weights(start)
        careful.fit(images, y, batch_size=10, verbose=0)
        results.append(model.get_weights())
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    assert not np.array_equal(start[0], results[0][0])


def test_burn_in_tosses_coins() -> None:
    rows = 4000
    x, y = np.zeros((rows, 5), "float32"), np.arange(rows) % 3
    model = linear_model()
    model.set_weights([w * 0 for w in model.get_weights()])  # every row's loss is log 3
    careful = MentorNetModel(model, burn_in=2)
    careful.compile(keras.optimizers.SGD(0.0), loss=cross_entropy())
    tossed = [careful.fit(x, y, batch_size=rows, verbose=0).history["loss"][0] / np.log(3) for _ in range(3)]
    assert abs(tossed[0] - 0.5) < 0.04 and abs(tossed[1] - 0.5) < 0.04 and tossed[0] != tossed[1]
    assert tossed[2] == 0, "after the burn-in no loss is below the quantile of equal losses"


def test_mentormix_without_blending_is_cross_entropy() -> None:
    x, y = linear_data()
    model = linear_model()
    kernel, bias = (w.astype("float64") for w in model.get_weights())
    step = gradient(x, y, kernel, bias)
    careful = MentorMixModel(model, alpha=1e-6)
    careful.compile(keras.optimizers.SGD(0.2), loss=cross_entropy(), metrics=["accuracy"])
    careful.threshold.assign(1e6)
    careful.mixed_threshold.assign(1e6)
    history = careful.fit(x, y, batch_size=8, verbose=0).history
    np.testing.assert_allclose(history["loss"], row_losses(x, y, kernel, bias).mean(), rtol=1e-5)
    for found, before, part in zip(model.get_weights(), (kernel, bias), step, strict=True):
        np.testing.assert_allclose(found, before - 0.2 * part, atol=1e-6)
    assert careful.threshold.numpy() > 1e3 and careful.mixed_threshold.numpy() > 1e3


def test_mentormix_replaces_rows_it_does_not_trust() -> None:
    """Without blending a trusted row stays itself, and another becomes its partner, label included."""
    x, y = linear_data(10)
    model = linear_model()
    careful = MentorMixModel(model, alpha=1e-6, quantile=0.5, ema=0.0)
    careful.compile(keras.optimizers.SGD(0.0), loss=cross_entropy())
    losses = row_losses(x, y, *model.get_weights())
    trusted = losses < np.sort(losses)[5]
    assert trusted.sum() == 5
    careful.threshold.assign(0.0)
    second = float(careful.fit(x, y, batch_size=10, verbose=0).history["loss"][0])
    level = float(careful.mixed_threshold.numpy())
    assert np.isclose(losses, level, atol=1e-5).any(), "every blend is a row of the batch, so is the threshold's"
    smaller = losses[losses < level - 1e-6]
    assert 0 < second < 0.5 * smaller.max() + 1e-6


@pytest.mark.parametrize("alpha", [0.01, 0.2, 1.0, 8.0])
def test_shares_follow_the_dirichlet_distribution(alpha: float) -> None:
    share = keras.ops.convert_to_numpy(MentorMixModel(linear_model(), alpha=alpha)._larger_share(20000))
    reference = np.random.default_rng(0).beta(alpha, alpha, 20000)
    reference = np.maximum(reference, 1 - reference)
    assert np.isfinite(share).all() and share.min() >= 0.5 and share.max() <= 1
    levels = [0.1, 0.3, 0.5, 0.8]
    np.testing.assert_allclose(np.quantile(share, levels), np.quantile(reference, levels), atol=0.015)


# All of them


@needs_tensorflow
@pytest.mark.parametrize("name", list(OBJECTIVES))
def test_every_objective_learns_and_trains_the_given_model(name: str, tmp_path: Path) -> None:
    images, given, truth = blobs()
    model = image_model()
    before = model.get_weights()
    data = ShuffledBatches(images, given, batch_size=20, seed=2)
    ready = prepare(name, model, data, num_classes=2, epochs=8, seed=3)
    ready.model.compile(keras.optimizers.SGD(0.2), loss=ready.loss, metrics=["accuracy"])
    history = ready.model.fit(ready.data, epochs=8, shuffle=False, verbose=0).history
    assert np.isfinite(history["loss"]).all() and set(history) == {"loss", "accuracy"}
    # MentorNet's loss is over fewer rows in the burn-in, here 2 epochs.
    start = 2 if name.startswith("mentor") else 0
    assert min(history["loss"][start + 1 :]) < history["loss"][start]
    # Under MixUp it is how often the larger half of a blend is recognised.
    assert history["accuracy"][-1] > 0.6
    predicted = np.argmax(model.predict(images, verbose=0), -1)
    assert (predicted == truth).mean() > 0.9
    assert not all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    assert isinstance(model, keras.Sequential) and len(model.weights) == len(before)
    model.save(tmp_path / "model.keras")
    stored = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(stored.predict(images, verbose=0), model.predict(images, verbose=0), atol=1e-6)


@needs_tensorflow
@pytest.mark.parametrize("name", ["mixup", "sam", "mentornet", "mentormix"])
def test_a_training_continued_from_saved_weights_ends_the_same(name: str, tmp_path: Path) -> None:
    images, labels, _ = blobs(40)

    class Reseed(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            ready.data.start_at(epoch)
            for number, layer in enumerate([self.model, *self.model.layers]):
                generator = getattr(layer, "seed_generator", None)
                if generator is not None:
                    state = np.array([number, epoch])
                    generator.state.assign(state.astype(generator.state.dtype))

    def run(first: int, last: int, load: bool) -> tuple[keras.Model, Any]:
        nonlocal ready
        model = image_model()
        data = ShuffledBatches(images, labels, batch_size=10, seed=2)
        # Of 10 epochs 2 are burn-in, and the interruption falls between them.
        ready = prepare(name, model, data, num_classes=2, epochs=10, seed=3)
        ready.model.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss=ready.loss)
        if load:
            ready.model.optimizer.build(ready.model.trainable_variables)
            ready.model.load_weights(tmp_path / "state.weights.h5")
        ready.model.fit(ready.data, initial_epoch=first, epochs=last, shuffle=False, verbose=0, callbacks=[Reseed()])
        return model, ready.model

    ready: Any = None
    whole, _ = run(0, 4, False)
    _, interrupted = run(0, 1, False)
    interrupted.save_weights(tmp_path / "state.weights.h5")
    continued, wrapper = run(1, 4, True)
    for a, b in zip(whole.get_weights(), continued.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    if name.startswith("mentor"):
        assert int(wrapper.batches_seen) == 16


def test_functional_models_with_nested_layers_work() -> None:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((2, 2, 1))
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, "relu")])
    model = keras.Model(inputs, keras.layers.Dense(2)(inner(keras.layers.Flatten()(inputs))))
    images, labels, _ = blobs(20)
    for careful in (MentorNetModel(model), MentorMixModel(model)):
        before = inner.get_weights()
        careful.compile(keras.optimizers.SGD(0.1), loss=cross_entropy())
        careful.fit(images, labels, verbose=0, epochs=2)
        assert not np.array_equal(before[0], inner.get_weights()[0])


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="jax is not installed")
def test_objectives_work_on_another_backend() -> None:
    script = """
import keras, numpy as np
from unlearning.training.objectives import OBJECTIVES, prepare
from unlearning.training import ShuffledBatches

rng = np.random.default_rng(0)
labels = np.arange(40) % 2
images = (rng.normal(0, 0.5, (40, 2, 2, 1)) + (2 * labels - 1)[:, None, None, None]).astype("float32")
for name in OBJECTIVES:
    model = keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
    data = ShuffledBatches(images, labels, batch_size=20)
    try:
        ready = prepare(name, model, data, num_classes=2, epochs=3, seed=0)
    except ValueError as error:
        print(name, error)
        continue
    ready.model.compile(keras.optimizers.SGD(0.1), loss=ready.loss, metrics=["accuracy"])
    loss = ready.model.fit(ready.data, epochs=3, shuffle=False, verbose=0).history["loss"]
    print(name, "finite" if np.isfinite(loss).all() else loss)
    if name.startswith("mentor"):
        assert float(ready.model.threshold) > 0 and int(ready.model.batches_seen) == 6
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    lines = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert "tensorflow" in lines.pop("sam")
    assert lines == {name: "finite" for name in OBJECTIVES if name != "sam"}


def test_the_modules_import_no_tensorflow() -> None:
    for path in (ROOT / "unlearning" / "training" / "objectives").glob("*.py"):
        assert not any(
            line.startswith(("import tensorflow", "from tensorflow")) for line in path.read_text().split("\n")
        )


# Mistakes


def test_defaults_cover_all_objectives() -> None:
    assert list(DEFAULTS) == list(OBJECTIVES)


def ready(name: str, data: Any = None, **options: float) -> Any:
    model = image_model()
    return prepare(name, model, batches() if data is None else data, num_classes=2, epochs=3, seed=0, options=options)


def test_plain_cross_entropy_changes_nothing() -> None:
    model, data = image_model(), batches()
    plain = prepare("cross-entropy", model, data, num_classes=2, epochs=3, seed=0)
    assert plain.model is model and plain.data is data
    assert type(plain.loss) is keras.losses.SparseCategoricalCrossentropy


@pytest.mark.parametrize(("epochs", "expected"), [(1, 4), (5, 4), (6, 8), (50, 40), (500, 40)])
def test_burn_in_is_a_fifth_of_the_epochs_at_most_ten(epochs: int, expected: int) -> None:
    plain = prepare("mentornet", image_model(), batches(), num_classes=2, epochs=epochs, seed=0)
    assert plain.model.burn_in == expected  # 4 batches an epoch


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("adaboost", {}),
        ("cross-entropy", {"alpha": 1}),
        ("mixup", {"rho": 1}),
        ("mixup", {"alpha": -1}),
        ("mixup", {"alpha": float("nan")}),
        ("logit-clip", {"threshold": 0}),
        ("mentornet", {"quantile": 1}),
        ("mentornet", {"quantile": "high"}),
        ("mentornet", {"ema": 1}),
        ("mentornet", {"ema": -0.1}),
        ("mentormix", {"alpha": 0}),
        ("mentormix", {"quantile": 0}),
        ("label-smoothing", {"rate": 1}),
        ("label-smoothing", {"rate": float("-inf")}),
    ],
)
def test_unknown_names_and_options_are_input_errors(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="Invalid value for argument"):
        ready(name, **options)


@needs_tensorflow
def test_a_negative_radius_is_an_input_error() -> None:
    with pytest.raises(InputError, match="rho"):
        ready("sam", rho=-0.1)


def test_data_sets_without_start_at_can_be_mixed() -> None:
    data = MixUp(Plain(np.zeros((3, 2)), np.arange(3)), num_classes=3)
    data.start_at(2)
    data.on_epoch_begin()
    data.on_epoch_end()
    assert data[0][1].shape == (3, 3)


@pytest.mark.parametrize(
    "batch",
    [
        (np.zeros((3, 2)), np.arange(3), np.ones(3)),
        (np.zeros((3, 2)), np.arange(2)),
        (np.zeros((3, 2)), np.eye(3)),
        (np.zeros((3, 2)), np.arange(3.0)),
        (np.zeros((3, 2)), np.arange(3) + 1),
        (np.zeros((3, 2)), np.arange(3) - 1),
    ],
)
def test_batches_mixup_cannot_mix_are_input_errors(batch: tuple[np.ndarray, ...]) -> None:
    with pytest.raises(InputError, match="data"):
        MixUp(Plain(*batch), num_classes=3)[0]


def test_other_mistakes_are_input_errors() -> None:
    with pytest.raises(InputError, match="data"):
        MixUp((np.zeros((3, 2)), np.arange(3)), num_classes=3)
    with pytest.raises(InputError, match="num_classes"):
        MixUp(batches(), num_classes=1)
    with pytest.raises(InputError, match="burn_in"):
        MentorNetModel(linear_model(), burn_in=-1)
    with pytest.raises(InputError, match="data"):
        ready("mentornet", data=blobs()[:2])
    with pytest.raises(InputError, match="epochs"):
        prepare("mentornet", image_model(), batches(), num_classes=2, epochs=0, seed=0)
    for model in (keras.Sequential([keras.layers.Dense(2)]), object()):
        with pytest.raises(InputError, match="model"):
            MentorNetModel(model)
    inputs = keras.Input((2,))
    with pytest.raises(InputError, match="one output"):
        MentorMixModel(keras.Model(inputs, [keras.layers.Dense(2)(inputs), keras.layers.Dense(2)(inputs)]))
