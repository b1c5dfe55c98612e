"""Loss functions against their formulas."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from support.training import (
    LABELS,
    LOGITS,
    cross_entropy,
    needs_tensorflow,
    slope,
    softmax,
)
from unlearning.training.objectives import (
    GeneralizedLabelSmoothing,
    LogitClip,
)


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
