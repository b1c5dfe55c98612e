"""Why a model file cannot be loaded is said in one line: Keras's own reason, and what to do."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import pytest

from unlearning.errors import InputError
from unlearning.interop import copy_model, load_model

LAYERS = keras.layers


class Doubling(LAYERS.Layer):
    def call(self, inputs):
        return 2 * inputs


def same(inputs):
    return inputs


def saved(path: Path, *layers) -> Path:
    keras.Sequential([keras.Input((4,)), *layers, LAYERS.Dense(2)]).save(path)
    return path


def edited(path: Path, change: Callable[[dict[str, Any]], Any], **metadata: str) -> Path:
    """Saves a model whose last layer's configuration is changed."""
    with zipfile.ZipFile(saved(path.with_name("plain.keras"))) as old, zipfile.ZipFile(path, "w") as new:
        for info in old.infolist():
            content = old.read(info)
            if info.filename == "config.json":
                config = json.loads(content)
                change(config["config"]["layers"][-1])
                content = json.dumps(config).encode()
            if info.filename == "metadata.json":
                content = json.dumps({**json.loads(content), **metadata}).encode()
            new.writestr(info, content)
    return path


def reason(path: Path) -> str:
    with pytest.raises(InputError, match="Cannot load the model") as raised:
        load_model(path)
    message = str(raised.value)
    assert "\n" not in message and len(message) < 700 and "config=" not in message
    return message


class TestReasons:
    @pytest.mark.parametrize(
        "layers",
        [
            lambda: [Doubling()],
            lambda: [keras.Sequential([keras.Input((4,)), Doubling()])],
        ],
        ids=["a layer", "a nested layer"],
    )
    def test_a_class_of_their_own(self, tmp_path: Path, layers) -> None:
        message = reason(saved(tmp_path / "own.keras", *layers()))
        assert (
            "'Doubling'" in message
            and "registers" in message
            and "--import MODULE" in message
            and "unlearning.repair(" in message
        )

    def test_a_function_of_their_own(self, tmp_path: Path) -> None:
        message = reason(saved(tmp_path / "own.keras", LAYERS.Dense(3, activation=same)))
        assert "'same'" in message and "registers" in message and "--import MODULE" in message

    @pytest.mark.filterwarnings("ignore:The object being serialized includes a `lambda`")
    def test_a_lambda(self, tmp_path: Path) -> None:
        message = reason(saved(tmp_path / "own.keras", LAYERS.Lambda(lambda x: x)))
        assert "Lambda" in message and "safe_mode=False" not in message and "unlearning.repair(" in message

    def test_an_option_of_a_newer_keras(self, tmp_path: Path) -> None:
        path = tmp_path / "newer.keras"
        edited(path, lambda layer: layer["config"].update(option_of_tomorrow=None), keras_version="9.0.0")
        message = reason(path)
        assert "option_of_tomorrow" in message and f"Keras 9.0.0, and this is {keras.__version__}" in message

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda layer: layer.update(class_name="DenseOfTomorrow"), "DenseOfTomorrow"),
            (lambda layer: layer["config"].update(units="many"), "units"),
            (lambda layer: layer["config"].update(units=5), "(4, 5)"),
        ],
    )
    def test_what_keras_says_last(self, tmp_path: Path, change, words: str) -> None:
        assert words in reason(edited(tmp_path / "m.keras", change))

    def test_an_hdf5_file_under_another_name(self, tmp_path: Path) -> None:
        (tmp_path / "m.keras").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
        assert "HDF5" in reason(tmp_path / "m.keras")

    def test_an_empty_file(self, tmp_path: Path) -> None:
        (tmp_path / "m.keras").write_bytes(b"")
        assert "not a zip file" in reason(tmp_path / "m.keras")


class TestCompiled:
    """Who fits or evaluates a repaired model goes on as with their own."""

    def compiled(self, path: Path, loss: Any) -> Path:
        model = keras.Sequential([keras.Input((4,)), LAYERS.Dense(2)])
        model.compile(keras.optimizers.SGD(0.125), loss=loss, metrics=["accuracy"])
        model.save(path)
        return path

    def test_where_keras_knows_how(self, tmp_path: Path) -> None:
        path = self.compiled(tmp_path / "m.keras", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        assert not load_model(path).compiled
        model = copy_model(load_model(path, compiled=True))
        assert model.compiled and float(model.optimizer.learning_rate) == 0.125
        assert model.loss.get_config()["from_logits"] is True

    def test_a_loss_of_the_users_own_is_left_out(self, tmp_path: Path) -> None:
        path = self.compiled(tmp_path / "m.keras", lambda wanted, said: said)
        assert not load_model(path, compiled=True).compiled

    def test_a_model_that_was_never_compiled(self, tmp_path: Path) -> None:
        assert not load_model(saved(tmp_path / "m.keras"), compiled=True).compiled
