"""Builders: sizes, shapes, outputs, and errors."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from unlearning.architectures import build
from unlearning.errors import InputError
from unlearning.interop import save_model


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


def test_size_of_the_pre_activation_resnet() -> None:
    model = build("preact_resnet18", input_shape=(32, 32, 3), num_classes=10)
    stages = ((64, 64), (64, 128), (128, 256), (256, 512))
    convolutions = 9 * 3 * 64 + sum(9 * a * b + 27 * b * b + (a * b if a != b else 0) for a, b in stages)
    norms = 64 + sum(a + 3 * b for a, b in stages)  # of the stem, and before each of four convolutions
    assert parameters(model.trainable_variables) == convolutions + 2 * norms + 512 * 10 + 10 == 11_171_274
    assert model.get_layer("global_pool").output.shape == (None, 512)
    assert model.get_layer("stage_4_block_2_add").output.shape == (None, 4, 4, 512)


def test_pre_activation_blocks_start_from_the_identity() -> None:
    """A block whose last convolution is zero passes its input on; features have either sign."""
    model = build("preact_resnet18", input_shape=(8, 8, 1), num_classes=3, seed=0)
    layer = model.get_layer("stage_2_block_2_2_conv")
    layer.set_weights([0 * w for w in layer.get_weights()])
    ends = [model.get_layer(name).output for name in ("stage_2_block_1_add", "stage_2_block_2_add", "global_pool")]
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 1)).astype("float32")
    before, after, features = (np.asarray(out) for out in keras.Model(model.input, ends)(images))
    np.testing.assert_array_equal(before, after)
    assert features.min() < 0 < features.max()


def test_size_of_vgg11() -> None:
    model = build("vgg11_bn", input_shape=(32, 32, 3), num_classes=10)
    widths = [3, 64, 128, 256, 256, 512, 512, 512, 512]
    convolutions = sum(9 * a * b + b for a, b in itertools.pairwise(widths))
    head = 2 * (512 * 512 + 512) + 512 * 10 + 10  # five halvings leave one pixel of 512 channels
    assert parameters(model.trainable_variables) == convolutions + 2 * sum(widths[1:]) + head == 9_756_426
    assert [layer.name for layer in model.layers if "pool" in layer.name] == [f"pool_{n}" for n in range(1, 6)]


@pytest.mark.parametrize(
    ("shape", "patches", "values"),
    [((32, 32, 3), 64, 48), ((8, 8, 1), 16, 4), ((33, 31, 3), 9 * 8, 48), ((15, 64, 1), 8 * 32, 4)],
)
def test_size_of_the_transformer(shape: tuple[int, int, int], patches: int, values: int) -> None:
    model = build("vit", input_shape=shape, num_classes=10)
    attention = 4 * (128 * 128 + 128)  # queries, keys, values and output
    block = 2 * 2 * 128 + attention + (128 * 256 + 256) + (256 * 128 + 128)
    expected = (values + patches) * 128 + 4 * block + 2 * 128 + 128 * 10 + 10
    assert parameters(model.weights) == parameters(model.trainable_variables) == expected
    assert model.get_layer("block_1_attention").output.shape == (None, patches, 128)
    assert model.get_layer("block_4_dense_1").output.shape == (None, patches, 256)


def test_patches_are_the_blocks_of_the_image_in_reading_order() -> None:
    model = build("vit", input_shape=(16, 20, 3), num_classes=2, pixel_max=2.0)
    images = np.random.default_rng(0).random((2, 16, 20, 3)).astype("float32")
    found = np.asarray(keras.Model(model.input, model.get_layer("patches").output)(images))
    blocks = [images[:, i : i + 4, j : j + 4].reshape(2, -1) for i in range(0, 16, 4) for j in range(0, 20, 4)]
    np.testing.assert_allclose(found, np.stack(blocks, axis=1) - 1, atol=1e-6)


def test_the_patch_projection_is_a_padded_strided_convolution() -> None:
    model = build("vit", input_shape=(17, 18, 2), num_classes=2, seed=0)
    images = np.random.default_rng(0).integers(0, 256, (2, 17, 18, 2)).astype("float32")
    layer = model.get_layer("patch_and_position")
    kernel, positions = (np.asarray(w) for w in layer.weights)
    rescaled = model.get_layer("rescaling")(images)
    expected = keras.ops.conv(rescaled, kernel.reshape(4, 4, 2, 128), strides=4, padding="same")
    found = keras.Model(model.input, layer.output)(images)
    np.testing.assert_allclose(found, np.reshape(expected, (2, 25, 128)) + positions, atol=1e-5)


def test_the_transformer_knows_where_its_patches_are() -> None:
    model = build("vit", input_shape=(16, 16, 1), num_classes=5, seed=0)
    images = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 1)).astype("float32")
    swapped = images.copy()
    swapped[:, :4, :4], swapped[:, 8:12, 4:8] = images[:, 8:12, 4:8], images[:, :4, :4]
    assert np.abs(np.asarray(model(images)) - np.asarray(model(swapped))).max() > 1e-4
    kernel, positions = model.get_layer("patch_and_position").get_weights()
    model.get_layer("patch_and_position").set_weights([kernel, np.zeros_like(positions)])
    np.testing.assert_allclose(model(images), model(swapped), atol=1e-5)


@pytest.mark.slow
def test_a_saved_transformer_needs_nothing_but_keras(tmp_path: Path) -> None:
    save_model(build("vit", input_shape=(8, 8, 1), num_classes=3), tmp_path / "vit.keras")
    code = "import sys, keras; print(keras.saving.load_model(sys.argv[1], safe_mode=True).output_shape)"
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "vit.keras"], capture_output=True, text=True)
    assert done.stdout.strip() == "(None, 3)", done.stderr


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
