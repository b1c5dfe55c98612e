"""MentorNet and MentorMix by hand."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from support.training import (
    batches,
    blobs,
    cross_entropy,
    gradient,
    image_model,
    linear_data,
    linear_model,
    row_losses,
)
from unlearning.training.objectives import MentorMixModel, MentorNetModel, get


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


@pytest.mark.parametrize(("epochs", "expected"), [(1, 4), (5, 4), (6, 8), (50, 40), (500, 40)])
def test_burn_in_is_a_fifth_of_the_epochs_at_most_ten(epochs: int, expected: int) -> None:
    plain = get("mentornet").prepare(image_model(), batches(), num_classes=2, epochs=epochs, seed=0)
    assert plain.model.burn_in == expected  # 4 batches an epoch


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
