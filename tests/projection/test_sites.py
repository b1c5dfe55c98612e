"""The rows of numbers that kernels multiply, and which kernels there are."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from support.projection import (
    all_rows,
    moment,
    randomise,
    same,
    site_of,
)
from support.small import small_model
from unlearning.errors import InputError
from unlearning.interop import observing
from unlearning.projection.sites import find_sites
from unlearning.projection.statistics import collect

MOVES = [((1, 1), 1), ((2, 2), 1), ((2, 1), 1), ((1, 1), 2)]
"""Strides and dilation; Keras knows no layer with both."""


class TestConvolutionRows:
    @pytest.mark.parametrize("groups", [1, 2])
    @pytest.mark.parametrize("size", [(9, 11), (10, 12)])
    @pytest.mark.parametrize("kernel", [(3, 3), (1, 1), (5, 3)])
    @pytest.mark.parametrize(("strides", "dilation"), MOVES)
    @pytest.mark.parametrize("padding", ["same", "valid"])
    def test_rows_reproduce_the_layer(self, padding, strides, dilation, kernel, size, groups) -> None:
        layer = keras.layers.Conv2D(
            6, kernel, strides=strides, dilation_rate=dilation, padding=padding, groups=groups, dtype="float64"
        )
        self._check(layer, size, groups, columns=kernel[0] * kernel[1] * 4 // groups, outputs=6 // groups)

    @pytest.mark.parametrize("multiplier", [1, 2])
    @pytest.mark.parametrize("size", [(9, 11), (10, 12)])
    @pytest.mark.parametrize("kernel", [(3, 3), (1, 1), (5, 3)])
    @pytest.mark.parametrize(("strides", "dilation"), MOVES[:2] + MOVES[3:])
    @pytest.mark.parametrize("padding", ["same", "valid"])
    def test_rows_reproduce_the_depthwise_layer(self, padding, strides, dilation, kernel, size, multiplier) -> None:
        layer = keras.layers.DepthwiseConv2D(
            kernel,
            strides=strides,
            dilation_rate=dilation,
            padding=padding,
            depth_multiplier=multiplier,
            dtype="float64",
        )
        self._check(layer, size, 4, columns=kernel[0] * kernel[1], outputs=multiplier)

    @staticmethod
    def _check(layer, size: tuple[int, int], groups: int, columns: int, outputs: int) -> None:
        rng = np.random.default_rng(0)
        images = rng.standard_normal((2, *size, 4))
        layer.build(images.shape)
        randomise(layer)
        site = site_of(layer)
        assert (site.groups, site.columns, site.outputs) == (groups, columns, outputs)
        expected = np.asarray(layer(images)) - np.asarray(layer.bias)
        rows = all_rows(site, images)
        assert rows.dtype == np.float64
        assert site.positions(images) == expected.shape[1] * expected.shape[2]
        # Output channels of a group, and of an input channel, lie side by side.
        outcome = np.moveaxis(rows @ site.matrices(), 0, 1).reshape(expected.shape)
        np.testing.assert_allclose(outcome, expected, atol=1e-12)
        # A choice of positions, different for every image and out of order.
        chosen = np.stack([rng.permutation(site.positions(images))[:5] for _ in images])
        every = rows.reshape(groups, 2, -1, columns)
        picked = np.concatenate([every[:, image, places] for image, places in enumerate(chosen)], axis=1)
        np.testing.assert_array_equal(site.rows(images, chosen), picked)

        weights = layer.get_weights()
        site.assign(site.matrices())
        assert same(weights, layer.get_weights())
        marked = rng.standard_normal(site.matrices().shape)
        site.assign(marked)
        np.testing.assert_array_equal(site.matrices(), marked)
        np.testing.assert_allclose(
            np.asarray(layer(images)) - np.asarray(layer.bias),
            np.moveaxis(rows @ marked, 0, 1).reshape(expected.shape),
            atol=1e-12,
        )

    def test_stride_two_pads_at_the_bottom_and_right(self) -> None:
        """By hand: a 4 x 4 image, a 3 x 3 kernel, stride 2; symmetric padding would put zeros at the top left."""
        layer = keras.layers.Conv2D(1, 3, strides=2, padding="same")
        layer.build((None, 4, 4, 1))
        image = np.arange(1.0, 17).reshape(1, 4, 4, 1)
        assert all_rows(site_of(layer), image)[0].tolist() == [
            [1, 2, 3, 5, 6, 7, 9, 10, 11],
            [3, 4, 0, 7, 8, 0, 11, 12, 0],
            [9, 10, 11, 13, 14, 15, 0, 0, 0],
            [11, 12, 0, 15, 16, 0, 0, 0, 0],
        ]

    def test_columns_are_ordered_height_width_channel(self) -> None:
        layer = keras.layers.Conv2D(1, (1, 2))
        layer.build((None, 1, 2, 2))
        assert all_rows(site_of(layer), np.array([[[[1.0, 2], [3, 4]]]])).tolist() == [[[1, 2, 3, 4]]]


class TestContractionRows:
    @pytest.mark.parametrize("shape", [(5, 4), (5, 3, 4), (5, 2, 3, 4)])
    def test_dense(self, shape: tuple[int, ...]) -> None:
        layer = keras.layers.Dense(6, dtype="float64")
        self._check(layer, shape, (4, 6))

    @pytest.mark.parametrize(
        ("equation", "output", "shape", "matrix", "order"),
        [
            ("abc,cde->abde", (None, 6, 2), (5, 3, 4), (4, 12), (0, 1, 2, 3)),
            ("abcd,cde->abe", (None, 6), (5, 3, 4, 2), (8, 6), (0, 1, 2)),
            ("...x,xy->...y", 6, (5, 3, 4), (4, 6), (0, 1, 2)),
            ("...x,xy->...y", 6, (5, 4), (4, 6), (0, 1)),
            ("ab...,bc->ac...", (6, 3, 2), (5, 4, 3, 2), (4, 6), (0, 2, 3, 1)),
            ("ab,bc->ac", 6, (5, 4), (4, 6), (0, 1)),
            ("abc,dc->abd", (None, 6), (5, 3, 4), (4, 6), (0, 1, 2)),
            ("abc,edc->abde", (None, 6, 2), (5, 3, 4), (4, 12), (0, 1, 3, 2)),
            ("abcd,edc->abe", (None, 6), (5, 3, 4, 2), (8, 6), (0, 1, 2)),
            ("abc,cde->aebd", (2, None, 6), (5, 3, 4), (4, 12), (0, 2, 3, 1)),
            ("abc,bd->acd", (None, 6), (5, 3, 4), (3, 6), (0, 1, 2)),
        ],
    )
    def test_einsum_dense(self, equation, output, shape, matrix, order) -> None:
        layer = keras.layers.EinsumDense(equation, output, dtype="float64")
        self._check(layer, shape, matrix, order)

    @staticmethod
    def _check(layer, shape, matrix: tuple[int, int], order: tuple[int, ...] | None = None) -> None:
        rng = np.random.default_rng(0)
        inputs = rng.standard_normal(shape)
        layer.build(shape)
        randomise(layer)
        site = site_of(layer)
        assert (site.groups, site.columns, site.outputs) == (1, *matrix)
        expected = np.asarray(layer(inputs))
        if layer.bias is not None:
            expected = expected - np.asarray(layer.bias)
        expected = expected.transpose(order or range(expected.ndim))
        outcome = all_rows(site, inputs) @ site.matrices()
        np.testing.assert_allclose(outcome.reshape(expected.shape), expected, atol=1e-12)
        weights = layer.get_weights()
        site.assign(site.matrices())
        assert same(weights, layer.get_weights())
        marked = rng.standard_normal(site.matrices().shape)
        site.assign(marked)
        np.testing.assert_array_equal(site.matrices(), marked)

    def test_chosen_tokens(self) -> None:
        layer = keras.layers.Dense(2)
        layer.build((None, 4, 3))
        inputs = np.random.default_rng(0).standard_normal((2, 4, 3))
        rows = site_of(layer).rows(inputs, np.array([[3, 0], [1, 2]]))
        np.testing.assert_array_equal(rows[0], inputs[[0, 0, 1, 1], [3, 0, 1, 2]])

    def test_attention_is_four_sites(self) -> None:
        keras.utils.set_random_seed(0)
        inputs = keras.Input((5, 6), dtype="float64")
        attention = keras.layers.MultiHeadAttention(2, 3, value_dim=4, name="attention", dtype="float64")
        model = keras.Model(inputs, attention(inputs, inputs))
        for layer in (attention.query_dense, attention.key_dense, attention.value_dense, attention.output_dense):
            randomise(layer, seed=layer.kernel.shape[-1])
        sites, skipped = find_sites(model)
        assert [site.name.split("/")[0] for site in sites] == ["attention"] * 4 and not skipped
        assert {site.name.split("/")[1]: site.matrices().shape for site in sites} == {
            "query": (1, 6, 6),
            "key": (1, 6, 6),
            "value": (1, 6, 8),
            "attention_output": (1, 8, 6),
        }
        seen: dict[int, tuple[np.ndarray, np.ndarray]] = {}

        def wrap(layer, call):
            def observed(*args: Any, **kwargs: Any) -> Any:
                outputs = call(*args, **kwargs)
                seen[id(layer)] = (np.asarray(args[0]), np.asarray(outputs))
                return outputs

            return observed

        tokens = np.random.default_rng(0).standard_normal((4, 5, 6))
        plain = np.asarray(model(tokens))
        with observing([site.layer for site in sites], wrap):
            np.testing.assert_array_equal(np.asarray(model(tokens)), plain)
        statistics = collect(model, sites, tokens)
        for site, entry in zip(sites, statistics, strict=True):
            received, produced = seen[id(site.layer)]
            rows = all_rows(site, received)
            np.testing.assert_allclose(
                (rows @ site.matrices()).reshape(produced.shape), produced - np.asarray(site.layer.bias), atol=1e-12
            )
            assert entry.rows == 20
            np.testing.assert_allclose(moment(entry), rows[0].T @ rows[0], rtol=1e-12)
            weights = site.layer.get_weights()
            site.assign(site.matrices())
            assert same(weights, site.layer.get_weights())


class TestFindingSites:
    @pytest.mark.parametrize(
        ("layer", "shape", "reason"),
        [
            (keras.layers.EinsumDense("abc,bcd->abd", (3, 6)), (None, 3, 4), "position"),
            (keras.layers.EinsumDense("ab,b->ab", 4, bias_axes=None), (None, 4), "contracts nothing"),
            (keras.layers.Conv1D(2, 3), (None, 5, 4), "Conv1D"),
        ],
        ids=["per-position", "no-contraction", "unknown-layer"],
    )
    def test_what_cannot_be_projected_is_left_out_with_a_reason(self, layer, shape, reason: str) -> None:
        layer.build(shape)
        dense = keras.layers.Dense(2)
        dense.build((None, 3))
        sites, skipped = find_sites(keras.Sequential([layer, dense]))
        assert [site.layer for site in sites] == [dense]
        assert list(skipped) == [layer.name] and reason in skipped[layer.name]

    def test_an_adapted_kernel_is_left_out(self) -> None:
        dense, adapted = keras.layers.Dense(2), keras.layers.Dense(2, name="adapted")
        for layer in (dense, adapted):
            layer.build((None, 3))
        adapted.enable_lora(1)
        sites, skipped = find_sites(keras.Sequential([dense, adapted]))
        assert [site.layer for site in sites] == [dense]
        assert "LoRA" in skipped["adapted"]

    def test_patterns(self) -> None:
        model = small_model()
        everything, skipped = find_sites(model)
        assert [site.name for site in everything] == ["conv", "hidden", "logits"] and skipped == {}
        sites, skipped = find_sites(model, ["conv", "log*"], ["c*"])
        assert [site.name for site in sites] == ["logits"]
        assert skipped == {"conv": "not selected", "hidden": "not selected"}

    @pytest.mark.parametrize("argument", ["include", "exclude"])
    def test_a_pattern_that_fits_nothing_is_refused(self, argument: str) -> None:
        with pytest.raises(InputError, match=rf"`{argument}`.*conv, hidden, logits.*'covn'"):
            find_sites(small_model(), **{argument: ["conv", "covn"]})

    def test_nothing_to_project_is_refused(self) -> None:
        model = keras.Sequential([keras.Input((4,)), keras.layers.BatchNormalization(), keras.layers.Softmax()])
        with pytest.raises(InputError, match="no layer to project"):
            find_sites(model)
        with pytest.raises(InputError, match=r"no layer to project.*not selected"):
            find_sites(small_model(), exclude=["*"])

    def test_nested_models_and_shared_layers(self) -> None:
        inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4, name="deep")], name="inner")
        inputs = keras.Input((4,))
        model = keras.Model(inputs, keras.layers.Dense(2, name="top")(inner(inner(inputs))))
        sites, _ = find_sites(model)
        assert [site.name for site in sites] == ["inner/deep", "top"]
        assert [site.name for site in find_sites(model, ["inner/*"])[0]] == ["inner/deep"]

    def test_observing_puts_every_call_back(self) -> None:
        model = small_model()
        layers = [site.layer for site in find_sites(model)[0]]
        with pytest.raises(RuntimeError, match="stop"), observing(layers, lambda layer, call: call):
            assert all("call" in layer.__dict__ for layer in layers)
            raise RuntimeError("stop")
        assert not any("call" in layer.__dict__ for layer in layers)

        def own(inputs):
            return inputs

        object.__setattr__(layers[0], "call", own)
        with observing(layers, lambda layer, call: lambda *args, **kwargs: None):
            assert layers[0].call is not own
        assert layers[0].call is own
