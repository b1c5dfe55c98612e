"""Sharpness-aware steps by hand."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from support.training import (
    blobs,
    cross_entropy,
    gradient,
    image_model,
    linear_data,
    linear_model,
    needs_tensorflow,
    row_losses,
)
from unlearning.errors import InputError
from unlearning.training.objectives import SharpnessAwareModel, get


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


@needs_tensorflow
def test_a_negative_radius_is_an_input_error() -> None:
    with pytest.raises(InputError, match="rho"):
        SharpnessAwareModel(linear_model(), rho=-0.1)
    with pytest.raises(InputError, match="rho"):
        get("sam", {"rho": -0.1})
