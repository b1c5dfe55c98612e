"""Builders: sizes, shapes, outputs, and errors."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from unlearning.architectures import available, build
from unlearning.errors import InputError


def parameters(variables) -> int:
    return sum(int(np.prod(v.shape)) for v in variables)


def test_cnn_is_the_published_network() -> None:
    model = build("cnn", input_shape=(32, 32, 3), num_classes=10)
    assert parameters(model.trainable_variables) == 1_798_282
    assert model.count_params() == 1_800_842 or parameters(model.weights) - 3 * 2 == 1_800_842
    head = ("dense_1", "batch_norm_7", "logits")
    assert sum(parameters(model.get_layer(n).trainable_variables) for n in head) == 1_055_242


def test_sizes_of_the_others() -> None:
    small = build("cnn_small", input_shape=(32, 32, 3), num_classes=10)
    assert parameters(small.trainable_variables) == 769_162
    resnet = build("resnet18", input_shape=(32, 32, 3), num_classes=10)
    assert parameters(resnet.trainable_variables) == 11_173_962


@pytest.mark.parametrize("name", available())
@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 28, 1), (33, 31, 3)])
def test_any_shape_and_class_count_gives_float32_logits(name: str, shape: tuple[int, int, int]) -> None:
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = build(name, input_shape=shape, num_classes=7, seed=0)
    finally:
        keras.config.set_dtype_policy("float32")
    out = np.asarray(model(np.random.default_rng(0).integers(0, 256, (2, *shape)).astype("float32")))
    assert out.shape == (2, 7) and out.dtype == np.float32
    assert out.min() < 0  # logits, not probabilities
    assert model.layers[-1].name == "logits"
    assert len({layer.name for layer in model.layers}) == len(model.layers)


def test_pixels_are_rescaled_by_the_given_maximum() -> None:
    bytes_model = build("cnn_small", input_shape=(8, 8, 1), num_classes=3, seed=1)
    unit_model = build("cnn_small", input_shape=(8, 8, 1), num_classes=3, seed=1, pixel_max=1.0)
    images = np.random.default_rng(0).random((4, 8, 8, 1)).astype("float32")
    np.testing.assert_allclose(bytes_model(images * 255), unit_model(images), atol=1e-4)
    rescaled = bytes_model.layers[0](np.array([0.0, 255.0], dtype="float32"))
    np.testing.assert_allclose(rescaled, [-1.0, 1.0], atol=1e-6)


def test_seed_fixes_the_weights() -> None:
    options = {"input_shape": (8, 8, 1), "num_classes": 3}
    one, same, other = (build("cnn_small", **options, seed=s) for s in (1, 1, 2))
    kernels = [np.asarray(m.get_layer("conv_1").kernel) for m in (one, same, other)]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert np.abs(kernels[0] - kernels[2]).max() > 0


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"name": "lenet"}, "cnn_small"),
        ({"num_classes": 1}, "num_classes"),
        ({"input_shape": (8, 8)}, "input_shape"),
        ({"pixel_max": 0}, "pixel_max"),
    ],
)
def test_bad_input(change: dict, match: str) -> None:
    options = {"name": "cnn", "input_shape": (8, 8, 1), "num_classes": 3, **change}
    with pytest.raises(InputError, match=match):
        build(options.pop("name"), **options)
