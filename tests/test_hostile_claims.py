"""Configurations that claim more than the file holds: refused before anything is built, and no honest model is."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from support.batches import peak, reset_peak
from support.hostile import MEGABYTE, refused, refused_command, zipped
from support.small import blobs, small_model
from unlearning import memory
from unlearning.interop import claims, load_model

layers = keras.layers


@pytest.fixture
def good(tmp_path: Path) -> Path:
    small_model().save(tmp_path / "good.keras")
    return tmp_path / "good.keras"


def changed(path: Path, change: Callable[[list[dict[str, Any]]], object]) -> Path:
    """Writes the model again with other layers in its configuration."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    change(config["config"]["layers"])
    return zipped(path.with_name("claiming.keras"), {**members, "config.json": json.dumps(config).encode()})


def set_last(**values: object) -> Callable[[list[dict[str, Any]]], object]:
    return lambda found: found[-1]["config"].update(values)


def and_then_nonsense(found: list[dict[str, Any]]) -> None:
    """A layer that is built, were it not for what comes behind it."""
    found[-2]["config"]["units"] = 2**31
    found[-2]["build_config"]["input_shape"] = [None, 2**20]
    found[-1]["class_name"] = "Nonsense"


def embedded(found: list[dict[str, Any]]) -> None:
    inner = keras.Sequential([keras.Input((6, 6, 1)), layers.Flatten(), layers.Dense(3)])
    claimed = keras.saving.serialize_keras_object(inner)
    claimed["config"]["layers"][-1]["config"]["units"] = 2**34
    found[1:] = [claimed]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (set_last(units=2**33), "claims .* bytes of weights, and the file holds"),
        (set_last(units=2**62), "claims .* bytes of weights|Cannot load"),
        (lambda found: found[1]["config"].update(filters=2**30), "Cannot load the model"),
        (and_then_nonsense, "Cannot load the model"),
        (embedded, "claims .* bytes of weights"),
        (
            lambda found: found.insert(1, _layer(layers.ZeroPadding2D(2**17))),
            "Cannot load the model",
        ),
        (
            lambda found: found.__setitem__(slice(1, None), [_layer(layers.UpSampling2D(2**16))]),
            "puts out .* bytes for 8 rows",
        ),
    ],
    ids=["units", "absurd", "filters", "nonsense behind", "model within", "padding", "an output"],
)
def test_refused_before_it_takes_memory(good: Path, change, why: str) -> None:
    path = changed(good, change)
    held = reset_peak()
    refused(lambda: load_model(path), why)
    with keras.StatelessScope():  # gives what was made without values in this thread its values when it ends
        pass
    assert peak() - held < 200 * MEGABYTE


def _layer(layer: keras.layers.Layer) -> dict[str, Any]:
    return keras.saving.serialize_keras_object(layer)


def test_the_command_says_so(good: Path) -> None:
    data = blobs(60)
    np.savez(good.with_name("data.npz"), images=data.images, labels=data.labels)
    path = changed(good, set_last(units=2**33))
    words = [
        "repair",
        path,
        "--data",
        good.with_name("data.npz"),
        "--method",
        "sap",
        "--out",
        good.with_name("o.keras"),
    ]
    refused_command([*words, "--quiet"], good.parent, "bytes of weights, and the file holds")


def test_weights_that_do_not_fit(good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "available_memory", lambda: 100)
    refused(lambda: load_model(good), r"its weights need \d+ bytes of memory, and 100 are free")
    monkeypatch.setattr(claims, "available_memory", memory.available_memory)
    assert load_model(good).count_params() == small_model().count_params()


def _adapted() -> keras.layers.Layer:
    layer = layers.Normalization()
    layer.adapt(np.random.default_rng(0).random((20, 6, 6, 1)))
    return layer


def _half(layer: keras.layers.Layer) -> keras.Sequential:
    model = keras.Sequential([keras.Input((6, 6, 1), dtype="float16"), layers.Flatten(), layer])
    return model


def _attending() -> keras.Model:
    rows = keras.Input((6, 4))
    attended = layers.MultiHeadAttention(2, 2)(rows, rows)
    return keras.Model(rows, layers.Dense(3)(layers.GlobalAveragePooling1D()(attended)))


HONEST: dict[str, Callable[[], keras.Model]] = {
    "small": small_model,
    "adapted": lambda: keras.Sequential([keras.Input((6, 6, 1)), _adapted(), layers.Flatten(), layers.Dense(3)]),
    "given statistics": lambda: keras.Sequential(
        [keras.Input((6, 6, 1)), layers.Normalization(mean=[0.5], variance=[2.0]), layers.Flatten(), layers.Dense(3)]
    ),
    "augmenting": lambda: keras.Sequential(
        [keras.Input((6, 6, 1)), layers.RandomFlip(), layers.RandomRotation(0.1), layers.Flatten(), layers.Dense(3)]
    ),
    "recurrent": lambda: keras.Sequential(
        [keras.Input((5,)), layers.Embedding(9, 4, mask_zero=True), layers.Bidirectional(layers.GRU(4, dropout=0.1))]
    ),
    "wrapped": lambda: keras.Sequential(
        [keras.Input((6, 6, 1)), layers.SpectralNormalization(layers.Conv2D(2, 3)), layers.Flatten(), layers.Dense(3)]
    ),
    "attending": _attending,
    "half precision": lambda: _half(layers.Dense(3, dtype="float16")),
    "brain floats": lambda: _half(layers.Dense(3, dtype="bfloat16")),
    "within": lambda: keras.Sequential([keras.Input((6, 6, 1)), small_model(), layers.Dense(3)]),
    "without weights": lambda: keras.Sequential([keras.Input((6, 6, 1)), layers.GlobalAveragePooling2D()]),
    "any size": lambda: keras.Sequential(
        [keras.Input((None, None, 1)), layers.Conv2D(3, 3), layers.GlobalAveragePooling2D()]
    ),
}


@pytest.mark.parametrize("kind", HONEST)
def test_honest_models_are_loaded(kind: str, tmp_path: Path) -> None:
    model = HONEST[kind]()
    model.save(tmp_path / "m.keras")
    loaded = load_model(tmp_path / "m.keras")
    for one, other in zip(model.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(one), keras.ops.convert_to_numpy(other))


@keras.saving.register_keras_serializable(package="claims")
class Eager(keras.layers.Layer):
    """Its variable begins with a value, which Keras allows no layer without values."""

    def build(self, shape: Any) -> None:
        self.factor = keras.Variable(np.float32([2.0]), name="factor")

    def call(self, rows: Any) -> Any:
        return rows * self.factor


def test_a_layer_that_begins_with_values_is_loaded(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((4,)), Eager(), layers.Dense(3)])
    model.save(tmp_path / "m.keras")
    rows = np.ones((2, 4), np.float32)
    np.testing.assert_array_equal(load_model(tmp_path / "m.keras")(rows), model(rows))
