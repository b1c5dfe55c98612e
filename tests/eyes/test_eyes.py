"""Networks that look at pictures: which of their outputs are taken, what goes in, and what stays on disk."""

from __future__ import annotations

import builtins
import logging
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from support.paths import ROOT
from unlearning.errors import InputError
from unlearning.eyes import Eyes, cache, open_eyes, see
from unlearning.eyes.network import NetworkEyes, watch_blocks
from unlearning.eyes.scaling import SCALINGS, choose_scaling


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNLEARNING_CACHE", str(tmp_path / "cache"))


def pictures(rows: int = 12, side: int = 8, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (rows, side, side, channels), dtype=np.uint8)


def residual(seed: int = 0, side: int | None = None) -> keras.Model:
    """A stem of 4, two residual blocks of 4 and 6, a wide head of 16, and five classes."""
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    x = images = keras.Input((side, side, 3))
    x = layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same", name="stem")(x))
    inner = layers.ReLU()(layers.Conv2D(12, 3, padding="same")(x))
    x = layers.Add(name="first")([x, layers.Conv2D(4, 1)(inner)])
    x = layers.Conv2D(6, 3, strides=2, padding="same", name="narrow")(x)
    inner = layers.ReLU()(layers.Conv2D(18, 1)(x))
    x = layers.Add(name="second")([x, layers.Conv2D(6, 1)(inner)])
    x = layers.GlobalAveragePooling2D()(layers.ReLU()(layers.Conv2D(16, 1, name="head")(x)))
    return keras.Model(images, layers.Dense(5, name="classes")(x))


class Constant(Eyes):
    """Counts how often it looks."""

    name, identity = "constant", "constant 1"
    looks = 0

    def look(self, images):
        type(self).looks += 1
        return np.asarray(images).reshape(len(images), -1)[:, :5]


class TestBlocks:
    def test_the_means_of_block_outputs_by_hand(self) -> None:
        model = residual()
        images = pictures().astype(np.float32)
        found = np.asarray(watch_blocks(model)(images))
        expected = []
        for name in ("second", "narrow", "first"):
            part = keras.Model(model.inputs, model.get_layer(name).output)
            expected.append(np.asarray(part(images, training=False)).mean(axis=(1, 2)))
        stem = keras.Model(model.inputs, model.layers[2].output)
        expected.append(np.asarray(stem(images, training=False)).mean(axis=(1, 2)))
        np.testing.assert_allclose(found, np.concatenate(expected, axis=1), rtol=1e-4, atol=1e-4)

    def test_a_plain_stack_gives_the_end_of_every_width(self) -> None:
        layers = keras.layers
        model = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(4, 3), layers.ReLU(), layers.Conv2D(6, 3),
                                  layers.ReLU(), layers.Flatten(), layers.Dense(3)])  # fmt: skip
        assert np.asarray(watch_blocks(model)(pictures().astype(np.float32))).shape == (12, 10)

    def test_a_network_of_vectors_gives_its_output(self) -> None:
        layers = keras.layers
        model = keras.Sequential([keras.Input((8, 8, 3)), layers.Flatten(), layers.Dense(7)])
        assert np.asarray(watch_blocks(model)(pictures().astype(np.float32))).shape == (12, 7)


class TestScaling:
    @pytest.mark.parametrize("name", list(SCALINGS))
    def test_the_first_batch_normalisation_tells(self, name: str) -> None:
        model, images = residual(), pictures(64).astype(np.float32)
        norm = next(layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization))
        reaching = np.asarray(keras.Model(model.inputs, norm.input)(SCALINGS[name](images)))
        norm.moving_mean.assign(reaching.mean(axis=(0, 1, 2)))
        norm.moving_variance.assign(reaching.var(axis=(0, 1, 2)))
        assert choose_scaling(model, images) == name

    def test_a_network_that_scales_is_given_bytes(self) -> None:
        layers = keras.layers
        model = keras.Sequential([keras.Input((8, 8, 3)), layers.Rescaling(1 / 255), layers.Conv2D(2, 3)])
        assert choose_scaling(model, pictures().astype(np.float32)) == "raw"


class TestSeeing:
    def test_a_file_is_looked_with_once(self, tmp_path: Path) -> None:
        residual().save(tmp_path / "eyes.keras")
        images = pictures()
        first = see(open_eyes(tmp_path / "eyes.keras"), images, size=16)
        (kept,) = cache.folder().glob("*.npy")
        written = kept.stat().st_mtime_ns
        again = see(open_eyes(tmp_path / "eyes.keras"), images, size=16)
        np.testing.assert_array_equal(first, again)
        assert [path.name for path in cache.folder().iterdir()] == [kept.name] and kept.stat().st_mtime_ns >= written

    def test_other_images_sizes_and_eyes_are_other_features(self, tmp_path: Path) -> None:
        for seed in (0, 1):
            residual(seed).save(tmp_path / f"{seed}.keras")
        images = pictures()
        changed = images.copy()
        changed[0, 0, 0, 0] ^= 1
        seen = [
            see(open_eyes(tmp_path / "0.keras"), images, size=16),
            see(open_eyes(tmp_path / "0.keras"), changed, size=16),
            see(open_eyes(tmp_path / "0.keras"), images, size=24),
            see(open_eyes(tmp_path / "0.keras", scaling="unit"), images, size=16),
            see(open_eyes(tmp_path / "1.keras"), images, size=16),
        ]
        assert len({part.tobytes() for part in seen}) == len(list(cache.folder().glob("*.npy"))) == 5

    def test_grey_images_and_numbers_from_0_to_1_are_the_same_pictures(self) -> None:
        grey = pictures(channels=1)
        eyes = NetworkEyes("n", "n 1", residual(), "signed")
        first = see(eyes, grey, size=8)
        np.testing.assert_allclose(first, see(eyes, np.repeat(grey, 3, axis=3), size=8), rtol=1e-4, atol=1e-5)
        scaled = (grey / 255).astype(np.float32)
        np.testing.assert_allclose(first, see(eyes, scaled, size=8), rtol=1e-3, atol=1e-4)

    def test_a_network_of_one_size_keeps_it(self) -> None:
        eyes = NetworkEyes("n", "n 2", residual(side=16), "signed")
        assert see(eyes, pictures(), size=96).shape == (12, 20)

    def test_images_are_resized_as_keras_does(self) -> None:
        images = pictures(4)
        found = see(Constant(), images, size=16, interpolation="bilinear")
        larger = keras.ops.image.resize(images.astype(np.float32), (16, 16), interpolation="bilinear")
        np.testing.assert_allclose(found, np.asarray(larger).reshape(4, -1)[:, :5], rtol=1e-5, atol=1e-4)

    def test_vectors_are_no_pictures(self) -> None:
        with pytest.raises(InputError, match="images of 1, 3 or 4 channels"):
            see(Constant(), np.zeros((3, 7), np.float32))

    def test_what_is_not_finite_is_refused_and_not_kept(self) -> None:
        model = residual()
        model.get_layer("stem").bias.assign([np.nan] * 4)
        with pytest.raises(InputError, match="finite"):
            see(NetworkEyes("n", "n 3", model, "signed"), pictures(), size=8)
        assert not cache.folder().exists()


class TestCache:
    @pytest.mark.parametrize("harm", ["cut", "changed", "pickle", "rows"])
    def test_what_is_not_what_was_written_is_looked_at_anew(self, harm: str) -> None:
        images, eyes = pictures(), Constant()
        first = see(eyes, images, size=8)
        (path,) = cache.folder().glob("*.npy")
        content = bytearray(path.read_bytes())
        if harm == "cut":
            path.write_bytes(content[:-8])
        elif harm == "changed":
            content[-3] ^= 1
            path.write_bytes(content)
        elif harm == "pickle":
            np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
        else:
            path.unlink()
            cache.write(path.stem.partition("-")[0], first[:3])
        looks = Constant.looks
        np.testing.assert_array_equal(see(eyes, images, size=8), first)
        assert Constant.looks == looks + 1

    def test_the_oldest_go_where_there_is_no_room(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cache, "LARGEST", 1000)
        features = np.zeros((10, 10), np.float32)  # 400 bytes, and a header of 128
        for place, name in enumerate("abc"):
            cache.write(name * 64, features)
            for path in cache.folder().glob(f"{name * 64}*"):
                os.utime(path, (place, place))
        assert cache.read("a" * 64, 10) is None and cache.read("c" * 64, 10) is not None
        assert sum(path.stat().st_size for path in cache.folder().iterdir()) <= 1000

    def test_a_folder_that_cannot_be_written_is_a_warning(self, tmp_path: Path, monkeypatch, caplog) -> None:
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("UNLEARNING_CACHE", str(tmp_path / "file"))
        with caplog.at_level(logging.WARNING):
            assert see(Constant(), pictures(), size=8).shape == (12, 5)
        assert "is not kept" in caplog.text


class TestOpening:
    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("missing.keras", "an existing file"),
            ("missing.tflite", "an existing file"),
            ("NoSuchNet", "a name of keras.applications"),
            ("weights.h5", "a name of keras.applications"),
            ("imagenet_utils", "a name of keras.applications"),
        ],
    )
    def test_what_is_none_is_one_clear_error(self, name: str, message: str) -> None:
        with pytest.raises(InputError, match=message):
            open_eyes(name)

    def test_a_damaged_file(self, tmp_path: Path) -> None:
        (tmp_path / "x.keras").write_bytes(b"no zip")
        with pytest.raises(InputError, match="Cannot load the model"):
            open_eyes(tmp_path / "x.keras")

    def test_without_network_a_name_is_an_error_at_once(self, tmp_path: Path, monkeypatch) -> None:
        monkeypatch.setenv("KERAS_HOME", str(tmp_path))
        monkeypatch.setattr("unlearning.eyes.opening.any_reachable", lambda urls: False)
        with pytest.raises(InputError, match="server cannot be reached"):
            open_eyes("MobileNetV2")

    def test_a_download_is_announced_before_it_starts(self, tmp_path: Path, monkeypatch, caplog) -> None:
        told: list[str] = []

        def built(**options):
            told.append(caplog.text)
            return keras.Sequential([keras.Input(options["input_shape"]), keras.layers.Conv2D(2, 3)])

        monkeypatch.setenv("KERAS_HOME", str(tmp_path))
        monkeypatch.setattr("unlearning.eyes.opening.any_reachable", lambda urls: True)
        monkeypatch.setattr(keras.applications, "MobileNetV2", built)
        monkeypatch.setattr(keras.applications.mobilenet_v2, "MobileNetV2", built)
        with caplog.at_level(logging.WARNING):
            eyes = open_eyes("MobileNetV2", size=32)
        assert "downloads the weights of MobileNetV2" in told[0] and eyes.side == 32

    @pytest.mark.parametrize(("name", "package"), [("hub:some_preset", "keras_hub"), ("x.tflite", "ai_edge_litert")])
    def test_a_missing_package_is_named(self, name: str, package: str, tmp_path: Path, monkeypatch) -> None:
        real = builtins.__import__

        def without(module, *arguments, **options):
            if module.split(".")[0] == package:
                raise ImportError(module)
            return real(module, *arguments, **options)

        (tmp_path / "x.tflite").write_bytes(b"")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(builtins, "__import__", without)
        with pytest.raises(InputError, match=f"pip install {package.replace('_', '-')}"):
            open_eyes(name)

    def test_is_imported_without_keras(self) -> None:
        code = "import sys, unlearning.eyes.opening; assert not {'keras', 'tensorflow'} & set(sys.modules)"
        subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_a_litert_file_sees_what_its_network_sees(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    import tensorflow as tf

    layers = keras.layers
    model = keras.Sequential([keras.Input((16, 16, 3)), layers.Conv2D(4, 3), layers.GlobalAveragePooling2D()])
    (tmp_path / "x.tflite").write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
    images = pictures()
    found = see(open_eyes(tmp_path / "x.tflite"), images, size=96)
    larger = np.asarray(keras.ops.image.resize(images.astype(np.float32), (16, 16), interpolation="bicubic"))
    np.testing.assert_allclose(found, np.asarray(model(larger / 127.5 - 1)), atol=1e-4)
    (tmp_path / "y.tflite").write_bytes(b"nothing")
    with pytest.raises(InputError, match="LiteRT"):
        open_eyes(tmp_path / "y.tflite")
