"""Second moments gathered in one streaming pass, and batch normalisation re-estimated."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from support.projection import (
    Stranger,
    kept,
    moment,
)
from support.small import blobs, small_model
from unlearning.errors import InputError
from unlearning.projection.sites import find_sites
from unlearning.projection.statistics import collect, recalibrate_batch_norm


class TestStatistics:
    @pytest.mark.parametrize("max_rows", [20_000, 150])
    def test_batch_size_does_not_matter(self, max_rows: int) -> None:
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [
                keras.Input((6, 6, 1)),
                keras.layers.Conv2D(3, 2, name="many"),
                keras.layers.DepthwiseConv2D(3, name="grouped"),
                keras.layers.Flatten(),
                keras.layers.Dense(90, name="wide"),
                keras.layers.Dense(3, name="few"),
            ]
        )
        images = blobs(50).images
        sites, _ = find_sites(model)
        runs = [collect(model, sites, images, max_rows=max_rows, seed=3, batch_size=size) for size in (7, 64, 1)]
        assert [entry.gram is None for entry in runs[0]] == [False, False, False, True]  # 50 rows of 90 numbers
        assert [entry.rows for entry in runs[0]] == (
            [50 * 25, 50 * 9, 50, 50] if max_rows > 1250 else [150, 150, 50, 50]
        )
        for other in runs[1:]:
            for first, second in zip(runs[0], other, strict=True):
                assert first.rows == second.rows
                np.testing.assert_allclose(first.trace, second.trace, rtol=1e-5)
                for name in ("gram", "kept"):
                    a, b = getattr(first, name), getattr(second, name)
                    assert (a is None) == (b is None)
                    if a is not None:  # the float32 forward pass itself rounds by batch size
                        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * np.abs(a).max())

    def test_second_moment_of_a_deep_layer(self) -> None:
        model, images = small_model(), blobs(50).images
        sites, _ = find_sites(model)
        entry = collect(model, sites, images, batch_size=16)[1]
        features = keras.Model(model.inputs[0], model.get_layer("flatten").output)(images, training=False)
        rows = np.asarray(features, np.float64)
        assert entry.rows == 50
        np.testing.assert_allclose(moment(entry), rows.T @ rows, rtol=1e-5)
        np.testing.assert_allclose(entry.trace, [np.sum(rows**2)], rtol=1e-5)

    def test_dropout_is_off(self) -> None:
        dense = keras.layers.Dense(2)
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dropout(0.5), dense])
        rows = np.random.default_rng(0).standard_normal((20, 3)).astype(np.float32)
        (entry,) = collect(model, find_sites(model)[0], rows)
        np.testing.assert_allclose(moment(entry), rows.T.astype(np.float64) @ rows, rtol=1e-6)

    @staticmethod
    def _marked(images: int, side: int) -> tuple[keras.Model, np.ndarray]:
        """A 1x1 convolution over pixels that say which image and position they are."""
        pixels = np.zeros((images, side, side, 600), np.float32)
        pixels[..., 0] = np.arange(images)[:, None, None]
        pixels[..., 1] = np.arange(side * side).reshape(side, side)
        return keras.Sequential([keras.Input((side, side, 600)), keras.layers.Conv2D(1, 1)]), pixels

    def test_subsample_draws_rows_evenly_from_every_image(self) -> None:
        model, pixels = self._marked(40, 3)
        sites, _ = find_sites(model)
        (entry,) = collect(model, sites, pixels, max_rows=80, seed=0)
        assert entry.rows == 80 and entry.kept is not None
        image, position = entry.kept[0, :, :2].astype(int).T
        np.testing.assert_array_equal(image, np.repeat(np.arange(40), 2))
        assert (position[::2] != position[1::2]).all()  # without replacement
        assert set(position) == set(range(9))
        assert entry.trace[0] == np.sum(entry.kept**2)
        # Not the same two positions in every image.
        assert len({tuple(sorted(pair)) for pair in position.reshape(-1, 2).tolist()}) > 10

    @pytest.mark.parametrize(("max_rows", "rows"), [(1, 40), (41, 80), (300, 320), (359, 360), (10_000, 360)])
    def test_cap_is_rounded_up_to_the_same_number_from_every_image(self, max_rows: int, rows: int) -> None:
        model, pixels = self._marked(40, 3)
        (entry,) = collect(model, find_sites(model)[0], pixels, max_rows=max_rows)
        assert entry.rows == rows and kept(entry).shape == (1, rows, 600)

    def test_seed_decides_the_subsample(self) -> None:
        model, pixels = self._marked(40, 3)
        sites, _ = find_sites(model)
        draws = [kept(collect(model, sites, pixels, max_rows=80, seed=seed)[0]) for seed in (0, 0, 1)]
        np.testing.assert_array_equal(draws[0], draws[1])
        assert not np.array_equal(draws[0], draws[2])

    def test_a_shared_layer_adds_up_all_its_calls(self) -> None:
        keras.utils.set_random_seed(0)
        inputs = keras.Input((4,))
        shared = keras.layers.Dense(4, activation="tanh")
        model = keras.Model(inputs, shared(shared(inputs)))
        rows = np.random.default_rng(0).standard_normal((20, 4)).astype(np.float32)
        (entry,) = collect(model, find_sites(model)[0], rows, batch_size=8)
        again = np.asarray(shared(rows), np.float64)
        assert entry.rows == 40
        np.testing.assert_allclose(moment(entry), rows.T.astype(np.float64) @ rows + again.T @ again, rtol=1e-5)

    def test_a_nested_model(self) -> None:
        keras.utils.set_random_seed(0)
        inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4, name="deep")])
        inputs = keras.Input((4,))
        model = keras.Model(inputs, keras.layers.Dense(2, name="top")(inner(inputs)))
        rows = np.random.default_rng(0).standard_normal((20, 4)).astype(np.float32)
        deep, top = collect(model, find_sites(model)[0], rows)
        hidden = np.asarray(inner(rows), np.float64)
        np.testing.assert_allclose(moment(deep), rows.T.astype(np.float64) @ rows, rtol=1e-6)
        np.testing.assert_allclose(moment(top), hidden.T @ hidden, rtol=1e-5)

    def test_a_subclassed_model_without_training_and_a_layer_out_of_reach(self) -> None:
        keras.utils.set_random_seed(0)
        model, images = Stranger(), blobs(50).images
        model.build(images.shape)
        sites, _ = find_sites(model)
        entries = dict(zip((site.name for site in sites), collect(model, sites, images), strict=True))
        assert {name: entry.rows for name, entry in entries.items()} == {"hidden": 50, "spare": 0, "out": 50}
        assert entries["spare"].trace.tolist() == [0] and entries["spare"].gram is None
        flat = images.reshape(50, -1).astype(np.float64)
        np.testing.assert_allclose(moment(entries["hidden"]), flat.T @ flat, rtol=1e-6)

    def test_half_precision_models_are_summed_in_double_precision(self) -> None:
        layer = keras.layers.Dense(2, dtype="mixed_float16")
        model = keras.Sequential([keras.Input((3,)), layer])
        rows = np.random.default_rng(0).uniform(100, 200, (500, 3)).astype(np.float16)
        (entry,) = collect(model, find_sites(model)[0], rows)  # each sum is far above 65504
        np.testing.assert_allclose(moment(entry), rows.T.astype(np.float64) @ rows.astype(np.float64), rtol=1e-12)

    @pytest.mark.parametrize(("rows", "max_rows", "match"), [(0, 10, "trusted rows"), (3, 0, "max_rows")])
    def test_nothing_to_gather_is_refused(self, rows: int, max_rows: int, match: str) -> None:
        model = small_model()
        with pytest.raises(InputError, match=match):
            collect(model, find_sites(model)[0], blobs(5).images[:rows], max_rows=max_rows)

    def test_batch_size_and_subsample_of_a_shared_layer(self) -> None:
        keras.utils.set_random_seed(0)
        inputs = keras.Input((5, 4))
        shared = keras.layers.Dense(4, activation="tanh")
        model = keras.Model(inputs, shared(shared(inputs)))
        tokens = np.random.default_rng(0).standard_normal((20, 5, 4)).astype(np.float32)
        first, second = (
            moment(collect(model, find_sites(model)[0], tokens, max_rows=40, batch_size=size)[0]) for size in (4, 20)
        )
        np.testing.assert_allclose(first, second, rtol=1e-4)


class TestBatchNormRecalibration:
    @staticmethod
    def _model() -> keras.Model:
        keras.utils.set_random_seed(0)
        layers = keras.layers
        model = keras.Sequential(
            [
                keras.Input((3,)),
                layers.Dropout(0.5),
                layers.Dense(4, name="dense"),
                layers.BatchNormalization(momentum=0.9, name="first"),
                layers.ReLU(),
                layers.Dropout(0.5),
                layers.BatchNormalization(momentum=0.7, name="second"),
                layers.Dense(2),
            ]
        )
        rng = np.random.default_rng(1)
        model.get_layer("first").set_weights([rng.uniform(0.5, 2, 4) for _ in range(4)])
        return model

    @pytest.mark.parametrize(("rows", "batches"), [(20, 2), (24, 3), (5, 1)])
    def test_statistics_are_the_mean_over_whole_batches(self, rows: int, batches: int) -> None:
        model = self._model()
        before = model.get_weights()
        inputs = np.random.default_rng(0).standard_normal((rows, 3)).astype(np.float32) * 3 + 1
        assert recalibrate_batch_norm(model, inputs, batch_size=8) == 2
        first, second = model.get_layer("first"), model.get_layer("second")
        dense = inputs @ np.asarray(model.get_layer("dense").kernel) + np.asarray(model.get_layer("dense").bias)
        moments: dict[str, list[np.ndarray]] = {"first": [], "second": []}
        for start in range(0, 8 * batches, 8):
            batch = dense[start : start + 8]
            moments["first"].append(np.stack([batch.mean(0), batch.var(0)]))
            hidden = (batch - batch.mean(0)) / np.sqrt(batch.var(0) + first.epsilon)
            hidden = np.maximum(hidden * np.asarray(first.gamma) + np.asarray(first.beta), 0)
            moments["second"].append(np.stack([hidden.mean(0), hidden.var(0)]))
        for layer in (first, second):
            mean, variance = np.mean(moments[layer.name], axis=0)
            np.testing.assert_allclose(layer.moving_mean, mean, atol=1e-5)
            np.testing.assert_allclose(layer.moving_variance, variance, atol=1e-5)
        assert (first.momentum, second.momentum) == (0.9, 0.7)
        moved = {id(layer.moving_mean) for layer in (first, second)} | {
            id(layer.moving_variance) for layer in (first, second)
        }
        for weight, old in zip(model.weights, before, strict=True):
            assert np.array_equal(weight, old) != (id(weight) in moved), weight.path

    def test_momentum_is_restored_after_a_failure(self) -> None:
        model = self._model()
        with pytest.raises(ValueError, match="shape"):
            recalibrate_batch_norm(model, np.zeros((4, 5), np.float32))
        assert (model.get_layer("first").momentum, model.get_layer("second").momentum) == (0.9, 0.7)
        assert "call" not in model.get_layer("first").__dict__

    def test_a_model_without_any(self) -> None:
        assert (
            recalibrate_batch_norm(keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]), np.ones((4, 3))) == 0
        )
