"""What every registered architecture promises."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from support.paths import ROOT
from unlearning.architectures import ARCHITECTURES, available, build, check_known, register, summaries
from unlearning.errors import InputError
from unlearning.interop import as_logit_model, copy_model, load_model, save_model
from unlearning.registry import Role

every_architecture = pytest.mark.parametrize("name", ARCHITECTURES.names())
LARGE = {"vgg11_bn", "resnet18", "preact_resnet18"}
whole_ones = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in LARGE)) for name in ARCHITECTURES.names()]
)
"""What is dear to ask of large ones is asked in the slow run."""


@every_architecture
def test_every_architecture_says_what_it_is(name: str) -> None:
    entry = ARCHITECTURES.entry(name)
    assert summaries()[name] == entry.summary and not entry.summary.endswith(".") and entry.family
    assert isinstance(entry.role, Role) and callable(entry.load())


@every_architecture
@pytest.mark.parametrize("shape", [(8, 8, 1), pytest.param((28, 28, 1), marks=pytest.mark.slow), (33, 31, 3)])
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


@whole_ones
def test_every_architecture_can_be_saved_and_copied(name: str, tmp_path: Path) -> None:
    model = build(name, input_shape=(8, 8, 1), num_classes=3, seed=0)
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1)).astype("float32")
    expected = np.asarray(model(images))
    save_model(model, tmp_path / "model.keras")
    for other in (copy_model(model), as_logit_model(model), load_model(tmp_path / "model.keras")):
        assert [layer.name for layer in other.layers][1:] == [layer.name for layer in model.layers][1:]
        np.testing.assert_allclose(other(images), expected, atol=1e-5)


@whole_ones
def test_the_seed_fixes_the_weights_of_every_architecture(name: str) -> None:
    one, same, other = (build(name, input_shape=(8, 8, 1), num_classes=3, seed=s).get_weights() for s in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def linear(input_shape: tuple[int, int, int], num_classes: int, pixel_max: float) -> keras.Model:
    """One dense layer."""
    layers = keras.layers
    return keras.Sequential(
        [keras.Input(input_shape), layers.Rescaling(1 / pixel_max), layers.Flatten(), layers.Dense(num_classes)]
    )


def test_a_stranger_can_register_an_architecture() -> None:
    register("linear", linear)
    try:
        assert available()[-1] == "linear" and summaries()["linear"] == "One dense layer"
        assert build("linear", input_shape=(2, 2, 1), num_classes=5).output_shape == (None, 5)
    finally:
        ARCHITECTURES.remove("linear")
    with pytest.raises(InputError, match="cnn_small"):
        check_known("linear")


def test_listing_imports_no_keras() -> None:
    code = (
        "import sys; from unlearning import architectures as a; a.summaries(); a.check_known('vit')\n"
        "assert not {'tensorflow', 'keras', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
