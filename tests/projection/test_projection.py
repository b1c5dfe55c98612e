"""Scaled Activation Projection against NumPy: golden values, layer rows, streaming, selection, callback, chains."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from support.paths import GOLDEN as GOLDEN_FILES
from support.small import blobs, fitted, poisoned_task, small_model
from unlearning import methods
from unlearning.errors import InputError
from unlearning.evaluation import accuracy, predict
from unlearning.interop import copy_model, inference_arguments
from unlearning.methods.sap import Sap
from unlearning.projection.callback import ProjectionReport, ProjectionSettings, ScaledActivationProjection
from unlearning.projection.selection import cross_entropy, curvature, select_trusted
from unlearning.projection.sites import Site, find_sites, observing
from unlearning.projection.solver import Projector, scaled_ratios
from unlearning.projection.statistics import Statistics, collect, recalibrate_batch_norm
from unlearning.task import Corrections, OutcomeStatus, Split, UnlearningTask, WorkCount

GOLDEN = json.loads((GOLDEN_FILES / "sap.json").read_text())
ALPHAS = (1e1, 1e2, 1e3, 1e4, 1e5, 1e6)
ROUTES = ("eigen", "cholesky", "dual")
TOY: dict[str, Any] = {"trusted_count": 60, "alphas": (300.0, 100.0, 30.0)}
"""A grid for a network of 18 columns instead of thousands."""


@pytest.fixture(autouse=True)
def eager_predict(request, monkeypatch) -> None:
    """Spares tiny networks the tracing of a graph, except inside a real `fit`."""
    if request.cls is not TestInFit:

        def predict_eagerly(self, x, batch_size=None, verbose=0):
            images = np.concatenate([*x.as_numpy_iterator()]) if isinstance(x, tf.data.Dataset) else np.asarray(x)
            return np.asarray(self(images, **inference_arguments(self)))

        monkeypatch.setattr(keras.Model, "predict", predict_eagerly)


def by_svd(rows: np.ndarray, kernel: np.ndarray, alpha: float) -> np.ndarray:
    """The projected kernel as it is published: singular vectors of the transposed rows, scaled singular values."""
    vectors, singular, _ = np.linalg.svd(np.asarray(rows, np.float64).T, full_matrices=False)
    ratios = singular**2 / np.sum(singular**2)
    scaled = alpha * ratios / ((alpha - 1) * ratios + 1)
    root = vectors * np.sqrt(scaled)
    return (root @ root.T) @ kernel


def statistics_of(rows: np.ndarray, *, keep: bool = False) -> Statistics:
    """Statistics of rows `(n, d)` or `(groups, n, d)`."""
    rows = np.asarray(rows, np.float64)
    rows = rows[None] if rows.ndim == 2 else rows
    trace = np.sum(rows**2, axis=(1, 2))
    if keep:
        return Statistics(rows.shape[1], trace, None, rows.copy())
    return Statistics(rows.shape[1], trace, rows.swapaxes(1, 2) @ rows, None)


def moment(statistics: Statistics) -> np.ndarray:
    assert statistics.gram is not None
    return statistics.gram[0]


def kept(statistics: Statistics) -> np.ndarray:
    assert statistics.kept is not None
    return statistics.kept


def project(rows: np.ndarray, kernel: np.ndarray, alpha: float, route: str | None = None) -> np.ndarray:
    statistics = statistics_of(rows, keep=route == "dual")
    return Projector(statistics, kernel.shape[-1], route=route).project(kernel[None].copy(), alpha)[0]


def steep(rows: int, columns: int, lowest: float, seed: int = 0) -> np.ndarray:
    """Rows whose singular values fall from 1 to `lowest`, evenly on a logarithmic scale."""
    rng = np.random.default_rng(seed)
    rank = min(rows, columns)
    left, _ = np.linalg.qr(rng.standard_normal((rows, rank)))
    right, _ = np.linalg.qr(rng.standard_normal((columns, rank)))
    return (left * np.geomspace(1, lowest, rank)) @ right.T


def site_of(layer: keras.layers.Layer) -> Site:
    """The one site of a built layer."""
    (site,), _ = find_sites(keras.Sequential([layer]))
    return site


def all_rows(site: Site, inputs: np.ndarray) -> np.ndarray:
    positions = site.positions(inputs)
    return site.rows(inputs, np.broadcast_to(np.arange(positions), (len(inputs), positions)))


def randomise(layer: keras.layers.Layer, seed: int = 1) -> None:
    rng = np.random.default_rng(seed)
    layer.set_weights([rng.standard_normal(weight.shape) for weight in layer.get_weights()])


def same(first: Sequence[np.ndarray], second: Sequence[np.ndarray]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


class TestGolden:
    @pytest.mark.parametrize("route", ["eigen", "cholesky", "dual", None])
    def test_by_hand(self, route: str | None) -> None:
        rows, kernel = np.diag([3.0, 1.0]), np.array([[1.0, 3.0], [2.0, 4.0]])
        assert (rows.T @ rows).tolist() == GOLDEN["by_hand"]["second_moment"]
        diagonal = np.array([9 / 9.1, 1 / 1.9])
        np.testing.assert_allclose(GOLDEN["by_hand"]["projection_diagonal"], diagonal, rtol=1e-12)
        np.testing.assert_allclose(project(rows, kernel, 10.0, route), diagonal[:, None] * kernel, rtol=1e-13)

    @pytest.mark.parametrize("route", ROUTES)
    def test_dense(self, route: str) -> None:
        golden = GOLDEN["dense"]
        rows, kernel = np.array(golden["activations"]), np.array(golden["kernel"])
        matrix = project(rows, np.eye(3), golden["alpha"], route)
        np.testing.assert_allclose(matrix, golden["projection"], atol=1e-13)
        projected = project(rows, kernel, golden["alpha"], route)
        np.testing.assert_allclose(projected, golden["projected_kernel"], atol=1e-13)

    def test_dense_ratios(self) -> None:
        golden = GOLDEN["dense"]
        for alphas, route in ((100, "eigen"), (1, "cholesky")):
            projector = Projector(statistics_of(np.array(golden["activations"])), 2, alphas, route)
            np.testing.assert_allclose(projector.ratios(), [golden["ratios"]], atol=1e-14)

    def test_convolution_through_its_layer(self) -> None:
        golden = GOLDEN["conv"]
        layer = keras.layers.Conv2D(2, 3, padding="same", use_bias=False, dtype="float64")
        model = keras.Sequential([keras.Input((4, 4, 2), dtype="float64"), layer])
        images, kernel = np.array(golden["images"]), np.array(golden["kernel"])
        layer.set_weights([kernel])
        sites, _ = find_sites(model)
        (statistics,) = collect(model, sites, images)
        assert statistics.rows == 32
        projector = Projector(statistics, 2)
        matrix = projector.project(np.eye(18)[None], golden["alpha"])[0]
        assert np.trace(matrix) == pytest.approx(golden["trace_projection"], rel=1e-12)
        sites[0].assign(projector.project(sites[0].matrices(), golden["alpha"]))
        (projected,) = layer.get_weights()
        np.testing.assert_allclose(projected, golden["projected_kernel"], atol=1e-12)
        assert projected.sum() == pytest.approx(-0.66084471, abs=1e-8)
        assert np.linalg.norm(projected - kernel) == pytest.approx(0.38273510, abs=1e-8)
        np.testing.assert_allclose(np.asarray(layer(images))[0, 1, 1], [-1.48515896, 0.27902165], atol=1e-8)
        ratios = projector.ratios()[0]
        np.testing.assert_allclose(ratios[:4], [0.26873564, 0.25154328, 0.08560023, 0.08145], atol=1e-8)
        assert ratios[-1] == pytest.approx(0.0031753554, abs=1e-9)


class TestSolver:
    @pytest.mark.parametrize("route", ROUTES)
    def test_limits_of_alpha(self, route: str) -> None:
        rng = np.random.default_rng(0)
        rows, kernel = rng.standard_normal((9, 4)), rng.standard_normal((4, 3))
        np.testing.assert_allclose(project(rows, kernel, 1e12, route), kernel, atol=1e-9)
        moment = rows.T @ rows
        # The Cholesky route subtracts nearly equal numbers there; usable alphas are nowhere near.
        nearly_one = 1 + 1e-6
        np.testing.assert_allclose(
            project(rows, kernel, nearly_one, route), moment @ kernel / np.trace(moment), atol=2e-6
        )

    @pytest.mark.parametrize("alpha", ALPHAS)
    def test_is_ridge_regression_on_its_own_outputs(self, alpha: float) -> None:
        rng = np.random.default_rng(0)
        rows, kernel = rng.standard_normal((30, 6)) * np.geomspace(1, 0.03, 6), rng.standard_normal((6, 2))
        moment = rows.T @ rows
        shift = np.trace(moment) / (alpha - 1)
        stacked = np.concatenate([rows, np.sqrt(shift) * np.eye(6)])
        refitted = np.linalg.lstsq(stacked, np.concatenate([rows @ kernel, np.zeros((6, 2))]), rcond=None)[0]
        identity = alpha / (alpha - 1) * moment @ np.linalg.inv(moment + shift * np.eye(6)) @ kernel
        for route in ROUTES:
            np.testing.assert_allclose(project(rows, kernel, alpha, route), identity, atol=1e-11)
            np.testing.assert_allclose(project(rows, kernel, alpha, route), alpha / (alpha - 1) * refitted, atol=1e-9)

    @pytest.mark.parametrize("alpha", ALPHAS)
    @pytest.mark.parametrize("shape", [(200, 24), (24, 24), (7, 24), (1, 24), (5, 1)])
    @pytest.mark.parametrize("route", ROUTES)
    def test_all_routes_equal_the_published_decomposition(
        self, route: str, shape: tuple[int, int], alpha: float
    ) -> None:
        for lowest in (1.0, 1e-3):
            rows = steep(*shape, lowest)
            kernel = np.random.default_rng(1).standard_normal((shape[1], 5))
            np.testing.assert_allclose(
                project(rows, kernel, alpha, route), by_svd(rows, kernel, alpha), atol=1e-8, rtol=0
            )

    @pytest.mark.parametrize("route", ROUTES)
    def test_scale_of_the_rows_does_not_matter(self, route: str) -> None:
        rows, kernel = steep(20, 6, 0.01), np.random.default_rng(1).standard_normal((6, 2))
        first, second = project(rows, kernel, 1e3, route), project(1e4 * rows, kernel, 1e3, route)
        np.testing.assert_allclose(first, second, atol=1e-10)

    @pytest.mark.parametrize("route", ROUTES)
    def test_several_alphas_from_one_projector_and_no_change_to_its_input(self, route: str) -> None:
        rows, kernel = steep(20, 6, 0.01), np.random.default_rng(1).standard_normal((1, 6, 2))
        projector = Projector(statistics_of(rows, keep=route == "dual"), 2, route=route)
        assert projector.route == route
        before = kernel.copy()
        for alpha in (1e3, 10.0, 1e5, 1e3):
            np.testing.assert_allclose(projector.project(kernel, alpha)[0], by_svd(rows, kernel[0], alpha), atol=1e-9)
            projector.ratios()  # must not disturb what follows
        np.testing.assert_array_equal(kernel, before)

    def test_route_is_chosen_by_rows_and_number_of_alphas(self) -> None:
        rows = np.random.default_rng(0).standard_normal((40, 30))
        assert Projector(statistics_of(rows[:5], keep=True), 4, 5).route == "dual"
        assert Projector(statistics_of(rows), 4, 1).route == "cholesky"
        assert Projector(statistics_of(rows), 4, 100).route == "eigen"

    @pytest.mark.parametrize("route", ROUTES)
    def test_fewer_rows_than_columns_remove_the_null_space(self, route: str) -> None:
        rng = np.random.default_rng(0)
        rows, kernel = rng.standard_normal((5, 12)), rng.standard_normal((12, 3))
        _, _, right = np.linalg.svd(rows)
        span, null = right[:5], right[5:]
        for alpha in (10.0, 1e4):
            assert np.abs(null @ project(rows, kernel, alpha, route)).max() < 1e-10
        assert np.abs(null @ kernel).max() > 0.5
        np.testing.assert_allclose(project(rows, kernel, 1e10, route), span.T @ span @ kernel, atol=1e-6)

    def test_rank_deficient_rows_do_not_hit_the_pole(self) -> None:
        """Rounding makes eigenvalues of a singular matrix negative, and `r = -1 / (alpha - 1)` divides by zero."""
        rng = np.random.default_rng(0)
        rows, kernel = rng.standard_normal((400, 3)) @ rng.standard_normal((3, 40)), rng.standard_normal((40, 2))
        projected = Projector(statistics_of(rows), 2, route="eigen").project(kernel[None], 1e15)[0]
        assert np.abs(projected).max() <= np.linalg.norm(kernel)
        poisoned = Statistics(2, np.array([1.0]), np.diag([1.0, -1 / 999])[None], None)
        np.testing.assert_array_equal(
            Projector(poisoned, 1, route="eigen").project(np.ones((1, 2, 1)), 1000.0).ravel().round(12), [1, 0]
        )

    @pytest.mark.parametrize("route", ROUTES)
    def test_groups_are_independent_and_a_dead_one_stays(self, route: str) -> None:
        rng = np.random.default_rng(0)
        rows, kernel = rng.standard_normal((3, 8, 4)), rng.standard_normal((3, 4, 2))
        rows[1] = 0
        projected = Projector(statistics_of(rows, keep=route == "dual"), 2, route=route).project(kernel, 50.0)
        for group in (0, 2):
            np.testing.assert_allclose(projected[group], by_svd(rows[group], kernel[group], 50.0), atol=1e-11)
        np.testing.assert_array_equal(projected[1], kernel[1])

    @pytest.mark.parametrize("shape", [(20, 6), (4, 6)])
    def test_ratios_are_descending_shares(self, shape: tuple[int, int]) -> None:
        rows = steep(*shape, 0.05)
        singular = np.geomspace(1, 0.05, min(shape))
        projector = Projector(statistics_of(rows, keep=shape[0] < shape[1]), 2)
        np.testing.assert_allclose(projector.ratios()[0], singular**2 / np.sum(singular**2), rtol=1e-10)

    def test_scaled_ratios(self) -> None:
        ratios = np.array([0, 1e-6, 0.2, 1.0])
        np.testing.assert_allclose(scaled_ratios(ratios, 1e6), [0, 1 / (1 + 1 - 1e-6), 2e5 / (2e5 + 0.8), 1])

    @pytest.mark.parametrize("trace", [0.0, np.nan, np.inf])
    def test_a_useless_trace_is_refused(self, trace: float) -> None:
        with pytest.raises(InputError, match="statistics"):
            Projector(Statistics(3, np.array([trace]), np.eye(2)[None], None), 1)

    @pytest.mark.parametrize("alpha", [1.0, 0.5, -3.0, np.nan, np.inf])
    def test_a_useless_alpha_is_refused(self, alpha: float) -> None:
        with pytest.raises(InputError, match="alpha"):
            project(np.eye(2), np.eye(2), alpha)

    def test_single_precision_statistics_would_be_wrong(self) -> None:
        """The trap that the float64 sums avoid: the directions that matter drown in the rounding of the strongest."""
        rows = steep(512, 48, 1e-4).astype(np.float32)
        kernel = np.random.default_rng(1).standard_normal((48, 4)).astype(np.float32)
        layer = keras.layers.Dense(4, use_bias=False)
        model = keras.Sequential([keras.Input((48,)), layer])
        layer.set_weights([kernel])
        (site,), _ = find_sites(model)
        (statistics,) = collect(model, [site], rows, batch_size=32)
        assert statistics.gram is not None and statistics.gram.dtype == np.float64
        true = by_svd(rows, kernel.astype(np.float64), 1e6)
        for route in ("eigen", "cholesky"):
            streamed = Projector(dataclasses.replace(statistics), 4, route=route)
            assert np.abs(streamed.project(site.matrices(), 1e6)[0] - true).max() < 1e-9
        single = (rows.T @ rows).astype(np.float64)
        rough = Projector(Statistics(512, np.array([np.trace(single)]), single[None], None), 4, route="eigen")
        assert np.abs(rough.project(site.matrices(), 1e6)[0] - true).max() > 1e-3


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


class Stranger(keras.Model):
    """A subclassed model whose `call` knows no `training`, with a layer the forward pass does not reach."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.flatten = keras.layers.Flatten()
        self.hidden = keras.layers.Dense(8, activation="relu", name="hidden")
        self.spare = keras.layers.Dense(2, name="spare")
        self.out = keras.layers.Dense(3, name="out")

    def build(self, shape) -> None:
        self.hidden.build((None, 36))
        self.spare.build((None, 5))
        self.out.build((None, 8))
        self.built = True

    def call(self, inputs):
        return self.out(self.hidden(self.flatten(inputs)))


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


def linear(classes: int = 3, *, side: int = 2, softmax: bool = False, seed: int = 0, scale: float = 1.0) -> keras.Model:
    """Softmax regression on `side` x `side` pixels."""
    model = keras.Sequential(
        [
            keras.Input((side, side, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(classes, activation="softmax" if softmax else None),
        ]
    )
    rng = np.random.default_rng(seed)
    model.set_weights([scale * rng.standard_normal((side * side, classes)), scale * rng.standard_normal(classes)])
    return model


def random_split(rows: int = 40, classes: int = 3, *, side: int = 2, seed: int = 0) -> Split:
    rng = np.random.default_rng(seed)
    return Split(rng.standard_normal((rows, side, side, 1)).astype(np.float32), rng.integers(0, classes, rows))


def softmax(model: keras.Model, images: np.ndarray) -> np.ndarray:
    kernel, bias = (weight.astype(np.float64) for weight in model.get_weights())
    scores = np.exp(np.asarray(images, np.float64).reshape(len(images), -1) @ kernel + bias)
    return scores / scores.sum(1, keepdims=True)


class TestSelection:
    def test_loss_of_the_given_label(self) -> None:
        model, split = linear(), random_split()
        expected = -np.log(softmax(model, split.images)[np.arange(40), split.labels])
        np.testing.assert_allclose(cross_entropy(model, split), expected, rtol=1e-4)
        np.testing.assert_allclose(
            cross_entropy(linear(softmax=True), split), cross_entropy(model, split), rtol=1e-4, atol=1e-6
        )

    def test_a_hopeless_row_has_a_finite_loss(self) -> None:
        model = linear(softmax=True)
        model.set_weights([np.zeros((4, 3)), np.array([0.0, 500.0, 0.0])])
        losses = cross_entropy(model, random_split())
        assert np.isfinite(losses).all() and losses.max() > 100

    def test_lowest_losses(self) -> None:
        model, split = linear(), random_split()
        losses = -np.log(softmax(model, split.images)[np.arange(40), split.labels])
        rows, work = select_trusted(model, split, count=7, balanced=False, num_classes=3)
        np.testing.assert_array_equal(rows, np.sort(np.argsort(losses)[:7]))
        assert rows.dtype == np.int64 and work == WorkCount(forward_rows=40)

    def test_lowest_losses_of_every_class(self) -> None:
        model, split = linear(), random_split()
        losses = -np.log(softmax(model, split.images)[np.arange(40), split.labels])
        rows, _ = select_trusted(model, split, count=9, num_classes=3)
        expected: list[int] = []
        for label in range(3):
            members = np.flatnonzero(split.labels == label)
            expected.extend(members[np.argsort(losses[members])[:3]])
        np.testing.assert_array_equal(rows, np.sort(expected))
        unbalanced, _ = select_trusted(model, split, count=9, balanced=False, num_classes=3)
        assert not np.array_equal(rows, unbalanced)

    @pytest.mark.parametrize(("count", "per_class"), [(9, [4, 4, 1]), (30, [19, 10, 1]), (2, [1, 1, 0])])
    def test_full_classes_fill_up_for_short_ones(self, count: int, per_class: list[int]) -> None:
        labels = np.repeat([0, 1, 2], [25, 10, 1])
        split = Split(random_split(36).images, labels)
        model = linear()
        if count == 2:  # the class with the worst of three bests goes without
            model.set_weights([np.zeros((4, 3)), np.array([2.0, 1.0, 0.0])])
        rows, _ = select_trusted(model, split, count=count, num_classes=3)
        assert len(rows) == count
        assert np.bincount(labels[rows], minlength=3).tolist() == per_class

    def test_ties_go_to_the_earlier_row(self) -> None:
        model = linear()
        model.set_weights([np.zeros((4, 3)), np.zeros(3)])
        split = Split(random_split(8).images, np.array([0, 0, 0, 1, 0, 2, 1, 2]))
        assert select_trusted(model, split, count=3, balanced=False, num_classes=3)[0].tolist() == [0, 1, 2]
        assert select_trusted(model, split, count=3, num_classes=3)[0].tolist() == [0, 3, 5]
        assert select_trusted(model, split, count=5, num_classes=3)[0].tolist() == [0, 1, 3, 5, 6]

    def test_more_than_there_are(self) -> None:
        rows, _ = select_trusted(linear(), random_split(), count=1000, num_classes=3)
        np.testing.assert_array_equal(rows, np.arange(40))

    def test_given_labels_decide(self) -> None:
        model, split = linear(), random_split()
        first, _ = select_trusted(model, split, count=9, num_classes=3)
        wrong = split.labels.copy()
        wrong[first] = softmax(model, split.images[first]).argmin(1)
        second, _ = select_trusted(model, Split(split.images, wrong), count=9, balanced=False, num_classes=3)
        assert not set(first) & set(second)

    def test_candidates_limit_the_pool(self) -> None:
        model, split = linear(), random_split()
        losses = -np.log(softmax(model, split.images)[np.arange(40), split.labels])
        pool, work = select_trusted(model, split, count=20, candidates=20, num_classes=3)
        assert len(set(pool)) == 20 and work == WorkCount(forward_rows=20)
        rows, work = select_trusted(model, split, count=5, candidates=20, balanced=False, num_classes=3)
        np.testing.assert_array_equal(rows, np.sort(pool[np.argsort(losses[pool])[:5]]))
        assert work == WorkCount(forward_rows=20)
        other, _ = select_trusted(model, split, count=20, candidates=20, num_classes=3, seed=1)
        assert not np.array_equal(pool, other)
        everything, work = select_trusted(model, split, count=5, candidates=99, balanced=False, num_classes=3)
        assert work == WorkCount(forward_rows=40)
        np.testing.assert_array_equal(everything, np.sort(np.argsort(losses)[:5]))

    def test_random_is_reproducible_and_blind(self) -> None:
        split = random_split()
        draws = [
            select_trusted(model, split, count=12, by="random", num_classes=3, seed=seed)
            for model, seed in ((linear(), 0), (linear(seed=5), 0), (linear(), 1))
        ]
        np.testing.assert_array_equal(draws[0][0], draws[1][0])
        assert not np.array_equal(draws[0][0], draws[2][0])
        assert draws[0][1] == WorkCount()
        assert np.bincount(split.labels[draws[0][0]]).tolist() == [4, 4, 4]
        assert len(set(draws[0][0])) == 12

    @staticmethod
    def _turns(model: keras.Model, split: Split, signs: np.ndarray) -> np.ndarray:
        """The float64 norm of the change of every row's gradient along one sign vector."""
        kernel = model.get_weights()[0].astype(np.float64)
        flat = split.images.reshape(len(split), -1).astype(np.float64)
        step = 2.5e-4 * max(float(split.images[:256].max()), 1)
        true = np.eye(kernel.shape[1])[split.labels]
        here, there = (
            (softmax(model, inputs.reshape(split.images.shape)) - true) @ kernel.T
            for inputs in (flat, flat + step * signs.reshape(1, -1))
        )
        return np.linalg.norm(there - here, axis=1)

    def test_curvature_of_one_pixel(self) -> None:
        """On one pixel the sign of the step makes no difference to speak of, so the score has one right value."""
        model, split = linear(side=1, scale=3), random_split(30, side=1)
        expected = self._turns(model, split, np.ones(1))
        scores = curvature(model, split)
        np.testing.assert_allclose(scores, expected, rtol=0.02, atol=2e-6)
        # Per row, not divided by the size of the batch: a short last batch is no exception.
        np.testing.assert_allclose(curvature(model, split, batch_size=29), scores, rtol=0.02, atol=2e-6)

    def test_curvature_of_several_pixels_lies_between_the_extremes(self) -> None:
        model, split = linear(scale=2), random_split(30)
        turns = [self._turns(model, split, np.array(signs)) for signs in itertools.product([-1.0, 1.0], repeat=4)]
        scores = curvature(model, split)
        assert (scores >= 0.97 * np.min(turns, axis=0) - 2e-6).all()
        assert (scores <= 1.03 * np.max(turns, axis=0) + 2e-6).all()
        assert np.corrcoef(scores, np.mean(turns, axis=0))[0, 1] > 0.8

    def test_flattest_rows_are_chosen(self) -> None:
        model, split = linear(side=1, scale=3), random_split(30, side=1)
        expected = self._turns(model, split, np.ones(1))
        rows, work = select_trusted(model, split, count=8, by="curvature", balanced=False, num_classes=3)
        assert work == WorkCount(gradient_rows=30 * 11)
        assert set(rows) <= set(np.argsort(expected)[:10])

    def test_curvature_depends_on_pixel_range_and_seed(self) -> None:
        split = random_split(20)
        model = linear()
        assert not np.array_equal(curvature(model, split, seed=0), curvature(model, split, seed=1))
        np.testing.assert_array_equal(curvature(model, split, seed=1), curvature(model, split, seed=1))
        bytes_ = Split(255 * np.abs(split.images), split.labels)
        scaled = linear()
        kernel, bias = scaled.get_weights()
        scaled.set_weights([kernel / 255, bias])
        # Steps grow, gradients shrink with the range of the pixels: the ranking must not notice.
        unit = curvature(model, Split(np.abs(split.images), split.labels))
        order = np.corrcoef(curvature(scaled, bytes_), unit)[0, 1]
        assert order > 0.99

    @pytest.mark.parametrize("by", ["loss", "curvature", "random"])
    def test_probabilities_and_logits_choose_alike(self, by) -> None:
        split = random_split()
        chosen = [
            select_trusted(linear(softmax=outputs), split, count=9, by=by, num_classes=3)[0]
            for outputs in (True, False)
        ]
        np.testing.assert_array_equal(chosen[0], chosen[1])

    @pytest.mark.parametrize("by", ["loss", "curvature"])
    def test_a_subclassed_model(self, by) -> None:
        keras.utils.set_random_seed(0)
        model, split = Stranger(), blobs(30)
        model.build(split.images.shape)
        plain = keras.Sequential(
            [keras.Input((6, 6, 1)), keras.layers.Flatten(), keras.layers.Dense(8, "relu"), keras.layers.Dense(3)]
        )
        plain.set_weights([*model.hidden.get_weights(), *model.out.get_weights()])
        np.testing.assert_array_equal(
            select_trusted(model, split, count=9, by=by, num_classes=3)[0],
            select_trusted(plain, split, count=9, by=by, num_classes=3)[0],
        )

    @pytest.mark.parametrize(
        ("arguments", "match"),
        [
            ({"count": 0}, "trusted_count"),
            ({"count": 5, "candidates": 4}, "candidates"),
            ({"by": "lowest"}, "selection"),
        ],
    )
    def test_bad_input(self, arguments: dict[str, Any], match: str) -> None:
        with pytest.raises(InputError, match=match):
            select_trusted(linear(), random_split(), **{"num_classes": 3, **arguments})

    def test_an_empty_split(self) -> None:
        with pytest.raises(InputError, match="train"):
            select_trusted(linear(), Split(np.empty((0, 2, 2, 1)), np.empty(0, np.int64)), num_classes=3)


def two_layers(seed: int = 0) -> keras.Model:
    """Two dense layers with a strong bias, whose predictions move when a kernel shrinks."""
    model = keras.Sequential(
        [
            keras.Input((2, 2, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(7, activation="relu", name="hidden"),
            keras.layers.Dense(3, name="out"),
        ]
    )
    rng = np.random.default_rng(seed)
    model.set_weights([rng.standard_normal(weight.shape) for weight in model.get_weights()])
    return model


def projected_weights(
    weights: Sequence[np.ndarray], images: np.ndarray, alpha: float, layers: Sequence[str] = ("hidden", "out")
) -> list[np.ndarray]:
    """What SAP must make of the weights of `two_layers`, with rows from the network as it is."""
    first, bias, second, last = (weight.astype(np.float64) for weight in weights)
    rows = images.reshape(len(images), -1).astype(np.float64)
    hidden = np.maximum(rows @ first + bias, 0)
    return [
        by_svd(rows, first, alpha) if "hidden" in layers else first,
        bias,
        by_svd(hidden, second, alpha) if "out" in layers else second,
        last,
    ]


def labelled_by(weights: Sequence[np.ndarray], images: np.ndarray) -> Split:
    """Validation rows on which the network with these weights is perfect."""
    first, bias, second, last = weights
    scores = np.maximum(images.reshape(len(images), -1) @ first + bias, 0) @ second + last
    return Split(images, scores.argmax(1))


def attached(model: keras.Model, train: Split, validation: Split, **settings: Any) -> ScaledActivationProjection:
    callback = ScaledActivationProjection(train, validation, **settings)
    callback.set_model(model)
    return callback


def holds(report: ProjectionReport, model: keras.Model, validation: Split, before: Sequence[np.ndarray]) -> None:
    """What every projection promises."""
    assert report.validation_accuracy_after == accuracy(model, validation)
    assert report.validation_accuracy_after >= report.validation_accuracy_before
    assert report.validation_accuracy_after == max(row["validation_accuracy"] for row in report.history)
    assert report.history[0]["validation_accuracy"] == report.validation_accuracy_before
    assert [row["step"] for row in report.history] == list(range(len(report.history)))
    assert report.applied == (not same(before, model.get_weights())) == bool(report.alphas)
    assert report.applied == (report.status is OutcomeStatus.IMPROVED)
    if report.applied:
        assert report.validation_accuracy_after > report.validation_accuracy_before
    details = report.details()
    assert json.loads(json.dumps(details)) == details
    assert json.loads(json.dumps(list(report.history))) == list(report.history)
    for row in details["layers"]:
        assert row["route"] in ROUTES and row["rows"] > 0 and row["columns"] > 0
        assert row["kept"] is None or 0 <= row["kept"] <= 1
        assert len(row["ranks"]) == len(row["ratios"]) and row["ranks"][0] == 1
        assert np.all(np.diff(row["ranks"]) > 0) and row["ranks"][-1] <= row["columns"]
        assert np.all(np.diff(row["ratios"]) <= 1e-12) and 0 <= row["ratios"][-1] <= row["ratios"][0] <= 1


class TestProjection:
    """One projection of a network small enough to be redone in NumPy."""

    ROWS = np.arange(5, 25)

    @pytest.mark.parametrize("alpha", [10.0, 100.0])
    def test_equals_the_published_algorithm(self, alpha: float) -> None:
        """All statistics come from the network as it was, whose first layer is not yet projected."""
        model, train = two_layers(), random_split(60)
        before = model.get_weights()
        target = projected_weights(before, train.images[self.ROWS], alpha)
        validation = labelled_by(target, random_split(300, seed=1).images)
        callback = attached(model, train, validation, alphas=(alpha,), trusted_rows=self.ROWS)
        report = callback.project()
        holds(report, model, validation, before)
        assert report.validation_accuracy_after == 1.0
        for weight, expected in zip(model.get_weights(), target, strict=True):
            np.testing.assert_allclose(weight, expected, atol=1e-5)
        assert np.array_equal(model.get_weights()[1], before[1]) and np.array_equal(model.get_weights()[3], before[3])
        assert report.alphas == ({"hidden": alpha, "out": alpha},)
        np.testing.assert_array_equal(report.trusted_rows, self.ROWS)
        assert report.work == WorkCount(forward_rows=20 + 2 * 300)
        assert callback.reports == [report]
        hidden, out = report.details()["layers"]
        assert (hidden["name"], hidden["rows"], hidden["columns"]) == ("hidden", 20, 4)
        rows = train.images[self.ROWS].reshape(20, -1).astype(np.float64)
        ratios = np.linalg.eigvalsh(rows.T @ rows)[::-1] / np.sum(rows**2)
        np.testing.assert_allclose(hidden["ratios"], ratios, rtol=1e-6)
        assert hidden["kept"] == pytest.approx(np.mean(alpha * ratios / ((alpha - 1) * ratios + 1)))
        assert (out["name"], out["columns"]) == ("out", 7)

    def test_the_best_of_several_alphas_wins(self) -> None:
        model, train = two_layers(), random_split(60)
        before = model.get_weights()
        target = projected_weights(before, train.images[self.ROWS], 30.0)
        validation = labelled_by(target, random_split(300, seed=1).images)
        alphas = (3.0, 1e4, 30.0, 1e3)
        report = attached(model, train, validation, alphas=alphas, trusted_rows=self.ROWS, patience=9).project()
        holds(report, model, validation, before)
        assert [row["alpha"] for row in report.history] == [None, 1e4, 1e3, 30.0, 3.0]  # from the safe end
        assert report.alphas == ({"hidden": 30.0, "out": 30.0},)
        for weight, expected in zip(model.get_weights(), target, strict=True):
            np.testing.assert_allclose(weight, expected, atol=1e-5)

    def test_rounds_start_from_the_projected_network(self) -> None:
        model, train = two_layers(), random_split(60)
        before, images = model.get_weights(), train.images[self.ROWS]
        once = projected_weights(before, images, 10.0)
        twice = projected_weights(once, images, 10.0)
        validation = labelled_by(twice, random_split(300, seed=1).images)
        report = attached(model, train, validation, alphas=(10.0,), trusted_rows=self.ROWS, rounds=2).project()
        holds(report, model, validation, before)
        assert [row["round"] for row in report.history] == [0, 1, 2] and len(report.alphas) == 2
        assert report.validation_accuracy_after == 1.0
        for weight, expected in zip(model.get_weights(), twice, strict=True):
            np.testing.assert_allclose(weight, expected, atol=1e-5)
        assert len(report.details()["layers"]) == 2  # of the first round only
        # A third round that improves nothing changes nothing.
        again = two_layers()
        longer = attached(again, train, validation, alphas=(10.0,), trusted_rows=self.ROWS, rounds=5).project()
        assert len(longer.alphas) == 2 and [row["round"] for row in longer.history] == [0, 1, 2, 3]
        assert same(again.get_weights(), model.get_weights())

    @pytest.mark.parametrize("layer", ["hidden", "out"])
    def test_per_layer_finds_the_one_layer_that_needs_it(self, layer: str) -> None:
        model, train = two_layers(), random_split(60)
        before = model.get_weights()
        target = projected_weights(before, train.images[self.ROWS], 10.0, [layer])
        validation = labelled_by(target, random_split(300, seed=1).images)
        callback = attached(
            model, train, validation, alphas=(1e4, 10.0), trusted_rows=self.ROWS, per_layer=True, patience=9
        )
        report = callback.project()
        holds(report, model, validation, before)
        assert report.validation_accuracy_after == 1.0
        assert report.alphas[0][layer] == 10.0 and report.alphas[0].get({"hidden": "out", "out": "hidden"}[layer]) in (
            None,
            1e4,
        )
        searched = [row["layer"] for row in report.history if "layer" in row]
        assert searched == ["out"] * searched.count("out") + ["hidden"] * searched.count("hidden")
        assert {"out", "hidden"} == set(searched)

    def test_isotropic_control_shrinks_as_much_but_turns_nothing(self) -> None:
        model, train = two_layers(), random_split(60)
        before = model.get_weights()
        directed = projected_weights(before, train.images[self.ROWS], 10.0)
        target = [
            old * (np.linalg.norm(new) / np.linalg.norm(old)) if old.ndim == 2 else old
            for old, new in zip(before, directed, strict=True)
        ]
        validation = labelled_by(target, random_split(300, seed=1).images)
        report = attached(
            model, train, validation, alphas=(10.0,), trusted_rows=self.ROWS, statistics="isotropic"
        ).project()
        holds(report, model, validation, before)
        assert report.validation_accuracy_after == 1.0
        for weight, expected in zip(model.get_weights(), target, strict=True):
            np.testing.assert_allclose(weight, expected, atol=1e-5)

    def test_dead_layer_and_layer_out_of_reach_are_skipped(self) -> None:
        model, split = Stranger(), blobs(120)
        keras.utils.set_random_seed(0)
        model.build(split.images.shape)
        model.hidden.bias.assign(np.full(8, -1e6))  # everything after the ReLU is zero
        model.out.bias.assign([0.0, 1.0, 0.0])
        before = model.get_weights()
        report = attached(model, split, blobs(60, seed=1), trusted_count=30, alphas=(100.0, 2.0)).project()
        assert report.skipped == {"out": "its input is zero on all trusted rows", "spare": "it is not used"}
        assert [row["name"] for row in report.layers] == ["hidden"]
        assert same(before, model.get_weights())

    def test_dead_channel_keeps_only_its_own_kernel(self) -> None:
        keras.utils.set_random_seed(0)
        layer = keras.layers.DepthwiseConv2D(3, name="depthwise")
        model = keras.Sequential([keras.Input((6, 6, 3)), layer, keras.layers.Flatten(), keras.layers.Dense(3)])
        images = np.random.default_rng(0).standard_normal((30, 6, 6, 3)).astype(np.float32)
        images[..., 1] = 0
        train = Split(images, np.arange(30) % 3)
        callback = attached(model, train, train, alphas=(10.0,), include=("depthwise",))
        before = np.array(layer.kernel)
        changed: list[np.ndarray] = []
        (site,), _ = find_sites(model, ["depthwise"])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(site), "assign", lambda _, matrices: changed.append(matrices.copy()))
            report = callback.project()
        assert "depthwise" not in report.skipped
        np.testing.assert_array_equal(changed[0][1], site.matrices()[1])
        for channel in (0, 2):
            rows = all_rows(site, images)[channel]
            expected = by_svd(rows, before[:, :, channel].reshape(9, 1).astype(np.float64), 10.0)
            np.testing.assert_allclose(changed[0][channel], expected, atol=1e-6)
            assert np.abs(expected - before[:, :, channel].reshape(9, 1)).max() > 1e-3

    @pytest.mark.parametrize(
        ("scores", "tried"),
        [
            ([0.5, 0.5, 0.5, 0.5, 0.5, 0.5], [1e5, 1e4, 1e3, 1e2, 1e1]),  # a plateau is no loss
            ([0.5, 0.4, 0.4], [1e5, 1e4]),
            ([0.5, 0.4, 0.6, 0.4, 0.4], [1e5, 1e4, 1e3, 1e2]),  # a success starts the count again
            ([0.5, 0.4, 0.5, 0.4, 0.4], [1e5, 1e4, 1e3, 1e2]),
        ],
    )
    def test_search_stops_where_it_only_hurts(self, scores, tried, monkeypatch) -> None:
        model, train = two_layers(), random_split(60)
        script = iter(scores)
        monkeypatch.setattr("unlearning.projection.callback.accuracy", lambda *_: next(script))
        alphas = (1e1, 1e3, 1e5, 1e2, 1e4)
        report = attached(model, train, train, alphas=alphas, trusted_rows=self.ROWS).project()
        assert [row["alpha"] for row in report.history] == [None, *tried]
        assert [row["validation_accuracy"] for row in report.history] == scores
        assert report.applied == (max(scores) > 0.5)
        assert report.validation_accuracy_after == max(scores)

    @pytest.mark.parametrize("scores", [[0.5, 0.5, 0.5], [0.5, 0.499, 0.2]])
    def test_equal_or_worse_leaves_the_network_bit_identical(self, scores, monkeypatch) -> None:
        model, train = two_layers(), random_split(60)
        before, script = model.get_weights(), iter(scores)
        monkeypatch.setattr("unlearning.projection.callback.accuracy", lambda *_: next(script))
        report = attached(model, train, train, alphas=(10.0, 3.0), trusted_rows=self.ROWS).project()
        assert not report.applied and report.status is OutcomeStatus.NOTHING_IMPROVED and report.alphas == ()
        assert same(before, model.get_weights())
        assert all(row["kept"] is None for row in report.layers)

    def test_non_finite_activations(self) -> None:
        model, train = two_layers(), random_split(60)
        train.images[7] = np.inf
        before = model.get_weights()
        report = attached(model, train, random_split(60, seed=1), trusted_rows=self.ROWS).project()
        assert report.status is OutcomeStatus.NON_FINITE and not report.applied
        assert same(before, model.get_weights())
        assert json.loads(json.dumps(report.details()))["alphas"] == []
        train.images[7] = 0
        assert attached(model, train, train, trusted_rows=self.ROWS).project().status is not OutcomeStatus.NON_FINITE

    def test_weights_that_are_not_finite_are_never_taken(self, monkeypatch) -> None:
        model, train = two_layers(), random_split(60)
        before = model.get_weights()
        monkeypatch.setattr(Projector, "project", lambda self, kernel, alpha: np.full_like(kernel, np.nan))
        validation = Split(train.images, np.zeros(60, np.int64))  # NaN scores are argmax 0, so would all be "right"
        report = attached(model, train, validation, trusted_rows=self.ROWS, patience=9).project()
        assert not report.applied and same(before, model.get_weights())
        assert [row["alpha"] for row in report.history] == [None]

    def test_an_alpha_that_shrinks_everything_is_never_taken(self, poisoned) -> None:
        model, task = copy_model(poisoned[0]), poisoned[1]
        before = model.get_weights()
        report = attached(model, task.train, task.validation, trusted_count=60, alphas=(1.001,)).project()
        assert report.history[-1]["validation_accuracy"] < report.validation_accuracy_before - 0.2
        assert not report.applied and same(before, model.get_weights())

    def test_recalibrated_batch_norm_is_part_of_what_is_scored_and_kept(self, poisoned) -> None:
        """Wrong statistics of the norm spoil the network; re-estimating them repairs it whatever alpha does."""
        model, task = copy_model(poisoned[0]), poisoned[1]
        norm, validation = model.get_layer("norm"), task.validation
        norm.moving_mean.assign(norm.moving_mean + 3)
        before = model.get_weights()
        settings = {"trusted_count": 60, "alphas": (1e6,), "include": ("conv",)}
        assert not attached(model, task.train, validation, **settings).project().applied
        report = attached(model, task.train, validation, **settings, batch_norm_rows=120).project()
        holds(report, model, validation, before)
        assert report.applied and report.validation_accuracy_after > accuracy(poisoned[0], validation) - 0.1
        # 120 rows are one batch, whose rows nobody but the seed knows.
        outputs = keras.Model(model.inputs[0], model.get_layer("conv").output).predict(task.train.images)
        np.testing.assert_allclose(norm.moving_mean, outputs.mean((0, 1, 2)), atol=0.2)
        assert report.work.forward_rows == 240 + 60 + 2 * 120 + 120

    def test_batch_norm_and_biases_stay_without_recalibration(self, poisoned) -> None:
        model, task = copy_model(poisoned[0]), poisoned[1]
        report = attached(model, task.train, task.validation, **TOY).project()
        assert report.applied
        pairs = zip(model.weights, poisoned[0].weights, strict=True)
        changed = [new.path for new, old in pairs if not np.array_equal(new, old)]
        assert ["/".join(path.split("/")[-2:]) for path in changed] == ["conv/kernel", "hidden/kernel", "logits/kernel"]


@pytest.fixture(scope="module")
def poisoned() -> tuple[keras.Model, UnlearningTask]:
    task, _ = poisoned_task()
    return fitted(small_model(hidden=16), task.train), task


class TestSettings:
    """Every setting through the callback, on a trained network with a convolution and a batch normalisation."""

    @pytest.mark.parametrize(
        "settings",
        [
            {},
            {"per_layer": True, "alphas": (300.0, 30.0)},
            {"rounds": 2},
            {"batch_norm_rows": 100},
            {"per_layer": True, "rounds": 2, "batch_norm_rows": 64, "alphas": (300.0, 30.0)},
            {"statistics": "isotropic"},
            {"selection": "curvature"},
            {"selection": "random"},
            {"balanced": False, "candidates": 100},
            {"max_rows": 50},
            {"patience": 1},
        ],
        ids=lambda settings: "-".join(settings) or "toy",
    )
    def test_guard_holds(self, settings, poisoned) -> None:
        model, task = copy_model(poisoned[0]), poisoned[1]
        before = model.get_weights()
        report = attached(model, task.train, task.validation, **{**TOY, **settings}).project()
        holds(report, model, task.validation, before)
        assert len(report.trusted_rows) == 60
        if settings.get("balanced", True):
            assert np.bincount(task.train.labels[report.trusted_rows]).tolist() == [20, 20, 20]
        if "max_rows" in settings:
            assert report.layers[0]["rows"] == 60

    @pytest.mark.parametrize(
        ("include", "exclude", "projected"),
        [(("hidden", "log*"), (), {"hidden", "logits"}), (("*",), ("h*",), {"conv", "logits"})],
    )
    def test_patterns(self, include, exclude, projected: set[str], poisoned) -> None:
        model, task = copy_model(poisoned[0]), poisoned[1]
        before = model.get_weights()
        report = attached(model, task.train, task.validation, **TOY, include=include, exclude=exclude).project()
        holds(report, model, task.validation, before)
        assert report.applied and set(report.alphas[0]) == projected
        assert {row["name"] for row in report.layers} == projected
        assert {name for name, reason in report.skipped.items() if reason == "not selected"} == (
            {"conv", "hidden", "logits"} - projected
        )
        for name in ("conv", "hidden", "logits"):
            old, new = (np.array(m.get_layer(name).kernel) for m in (poisoned[0], model))
            assert np.array_equal(old, new) == (name not in projected)

    def test_settings_object_and_overrides(self, poisoned) -> None:
        model, task = copy_model(poisoned[0]), poisoned[1]
        settings = ProjectionSettings(trusted_count=33, alphas=(1e3, 100.0))
        report = attached(model, task.train, task.validation, settings=settings, alphas=(50.0,)).project()
        assert len(report.trusted_rows) == 33
        assert [row["alpha"] for row in report.history] == [None, 50.0]

    @pytest.mark.parametrize(
        ("settings", "argument"),
        [
            ({"alphas": (1.0,)}, "alpha"),
            ({"alphas": (1e3, 0.5)}, "alpha"),
            ({"alphas": (float("nan"),)}, "alpha"),
            ({"alphas": ()}, "alphas"),
            ({"trusted_count": 0}, "trusted_count"),
            ({"patience": 0}, "patience"),
            ({"rounds": 0}, "rounds"),
            ({"max_rows": 0}, "max_rows"),
            ({"trusted_count": 50, "candidates": 49}, "candidates"),
            ({"batch_norm_rows": -1}, "batch_norm_rows"),
        ],
    )
    def test_bad_settings(self, settings: dict[str, Any], argument: str) -> None:
        split = random_split()
        with pytest.raises(InputError, match=f"`{argument}`"):
            ScaledActivationProjection(split, split, **settings)
        with pytest.raises(InputError, match=f"`{argument}`"):
            methods.get("sap", settings)

    @pytest.mark.parametrize(
        ("arguments", "argument"),
        [
            ({"every": 0}, "every"),
            ({"alpha": 3.0}, "alpha"),
            ({"trusted_rows": np.empty(0, np.int64)}, "trusted_rows"),
            ({"trusted_rows": np.array([0, 40])}, "trusted_rows"),
            ({"trusted_rows": np.array([-1, 3])}, "trusted_rows"),
            ({"trusted_rows": np.array([[1, 2]])}, "trusted_rows"),
        ],
    )
    def test_bad_arguments(self, arguments: dict[str, Any], argument: str) -> None:
        split = random_split()
        with pytest.raises(InputError, match=f"`{argument}`"):
            ScaledActivationProjection(split, split, **arguments)

    @pytest.mark.parametrize("part", ["train", "validation"])
    def test_empty_data(self, part: str) -> None:
        parts = {"train": random_split(), "validation": random_split()}
        parts[part] = Split(np.empty((0, 2, 2, 1), np.float32), np.empty(0, np.int64))
        with pytest.raises(InputError, match=f"`{part}`"):
            ScaledActivationProjection(parts["train"], parts["validation"])

    def test_bad_patterns_and_models(self) -> None:
        split = random_split()
        with pytest.raises(InputError, match="`include`"):
            attached(two_layers(), split, split, include=("conv*",)).project()
        model = keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Flatten()])
        with pytest.raises(InputError, match="no layer to project"):
            attached(model, split, split).project()


class TestRegressions:
    """Mistakes this package once made."""

    def test_recalibration_alone_counts_as_applied(self, poisoned) -> None:
        model, task = copy_model(poisoned[0]), poisoned[1]
        norm = model.get_layer("norm")
        norm.moving_mean.assign(norm.moving_mean + 1.5)
        before = model.get_weights()
        report = attached(
            model,
            task.train,
            task.validation,
            trusted_count=60,
            alphas=(3.0,),
            per_layer=True,
            batch_norm_rows=240,
            include=("hidden",),
        ).project()
        assert report.validation_accuracy_after > report.validation_accuracy_before
        assert report.applied == (not same(before, model.get_weights()))

    def test_curvature_of_a_nested_softmax(self) -> None:
        flat = linear(side=1, scale=3, softmax=True)
        inputs = keras.Input((1, 1, 1))
        nested = keras.Model(inputs, linear(side=1, scale=3, softmax=True)(inputs))
        split = random_split(30, side=1)
        np.testing.assert_allclose(curvature(nested, split), curvature(flat, split), rtol=0.1, atol=1e-5)

    @pytest.mark.parametrize("rows", [np.arange(40) > 20, np.array([0.5, 3.9])], ids=["mask", "floats"])
    def test_trusted_rows_that_are_no_row_numbers(self, rows: np.ndarray) -> None:
        with pytest.raises(InputError, match="`trusted_rows`"):
            ScaledActivationProjection(random_split(), random_split(), trusted_rows=rows)

    @pytest.mark.parametrize("name", ["selection", "statistics"])
    def test_a_misspelt_choice_is_refused_before_training(self, name: str) -> None:
        settings: dict[str, Any] = {name: "nonsense"}
        with pytest.raises(InputError, match=f"`{name}`"):
            ScaledActivationProjection(random_split(), random_split(), **settings)

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


class TestInFit:
    """Inside an ordinary `fit`."""

    @pytest.fixture(scope="class")
    def compiled(self) -> keras.Model:
        model = small_model(hidden=8)
        model.compile(
            optimizer="adam", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"]
        )
        return model

    @staticmethod
    def _fit(model: keras.Model, epochs: int, **arguments: Any):
        task, _ = poisoned_task()
        train = (task.train.images, task.train.labels)
        validation = (task.validation.images, task.validation.labels)
        sap = ScaledActivationProjection(train, validation, **TOY, **arguments)
        seen: list[tuple[int, float]] = []

        def look(epoch: int, logs: Any) -> None:
            seen.append((len(sap.reports), accuracy(model, task.validation)))

        watcher = keras.callbacks.LambdaCallback(on_epoch_end=look)
        history = model.fit(
            *train, batch_size=32, epochs=epochs, verbose=0, callbacks=[sap, watcher], validation_data=validation
        )
        return task, sap, seen, history.history

    @pytest.mark.parametrize(
        ("epochs", "every", "counts"),
        [(5, 2, [0, 1, 1, 2, 2, 3]), (4, 2, [0, 1, 1, 2, 2]), (2, None, [0, 0, 1])],
    )
    def test_when(self, epochs: int, every: int | None, counts: list[int], compiled) -> None:
        model = compiled
        task, sap, seen, history = self._fit(model, epochs, every=every)
        assert [*(count for count, _ in seen), len(sap.reports)] == counts
        assert len(history["accuracy"]) == len(history["val_accuracy"]) == epochs
        for report in sap.reports:
            assert report.validation_accuracy_after >= report.validation_accuracy_before
        assert accuracy(model, task.validation) == sap.reports[-1].validation_accuracy_after
        for epoch, (count, score) in enumerate(seen):
            if count > (seen[epoch - 1][0] if epoch else 0):
                assert score == sap.reports[count - 1].validation_accuracy_after

    def test_falls_back_to_the_trained_weights(self, compiled) -> None:
        """Labels that the model predicts itself leave nothing to gain."""
        task, _ = poisoned_task()
        images, weights = task.validation.images, []
        sap = ScaledActivationProjection(task.train, task.validation, **TOY)

        def own_labels(epoch: int, logs: Any) -> None:
            sap._validation = Split(images, predict(compiled, images).argmax(1))
            weights.extend(compiled.get_weights())

        own = keras.callbacks.LambdaCallback(on_epoch_end=own_labels)
        compiled.fit(task.train.images, task.train.labels, epochs=1, verbose=0, callbacks=[own, sap])
        (report,) = sap.reports
        assert report.validation_accuracy_before == 1.0 and not report.applied
        assert report.status is OutcomeStatus.NOTHING_IMPROVED
        assert same(weights, compiled.get_weights())


class TestMethod:
    def test_is_the_callback_on_a_copy(self, poisoned) -> None:
        model, task = poisoned
        before = model.get_weights()
        outcome = Sap(**TOY).unlearn(model, task)
        copy = copy_model(model)
        report = attached(copy, task.train, task.validation, **TOY).project()
        assert outcome.applied and same(outcome.model.get_weights(), copy.get_weights())
        assert same(before, model.get_weights())
        assert outcome.work == report.work
        assert outcome.details == report.details()
        assert [{**row, "seconds": 0} for row in outcome.history] == [{**row, "seconds": 0} for row in report.history]
        assert outcome.validation_accuracy_after == accuracy(outcome.model, task.validation)

    def test_true_labels_are_never_read(self, poisoned) -> None:
        model, task = poisoned
        method = Sap(**TOY)
        reference = method.unlearn(model, task)
        rng = np.random.default_rng(5)
        for corrections in (
            Corrections(np.empty(0, np.int64), np.empty(0, np.int64)),
            Corrections(task.corrections.rows, rng.permutation(task.corrections.labels)),
            Corrections(np.arange(100, 200), rng.integers(0, 3, 100)),
        ):
            other = method.unlearn(model, dataclasses.replace(task, corrections=corrections))
            assert same(reference.model.get_weights(), other.model.get_weights())
            assert reference.details == other.details and reference.work == other.work

    def test_given_labels_are(self, poisoned) -> None:
        model, task = poisoned
        reference = Sap(**TOY).unlearn(model, task).details["trusted_rows"]
        labels = task.train.labels.copy()
        labels[reference] = (labels[reference] + 1) % 3
        changed = dataclasses.replace(task, train=Split(task.train.images, labels))
        assert not set(Sap(**TOY).unlearn(model, changed).details["trusted_rows"]) & set(reference)

    def test_trusted_rows_of_the_task(self, poisoned) -> None:
        model, task = poisoned
        rows = np.arange(60, 120)
        outcome = Sap(**TOY).unlearn(model, dataclasses.replace(task, trusted_rows=rows))
        assert outcome.details["trusted_rows"] == rows.tolist()
        for wrong in (np.array([240]), np.array([-1]), np.empty(0, np.int64)):
            with pytest.raises(InputError, match="`trusted_rows`"):
                Sap(**TOY).unlearn(model, dataclasses.replace(task, trusted_rows=wrong))

    def test_seed_of_the_task(self, poisoned) -> None:
        model, task = poisoned
        draw = {
            seed: Sap(**TOY, selection="random").unlearn(model, dataclasses.replace(task, seed=seed)) for seed in (1, 2)
        }
        assert draw[1].details["trusted_rows"] != draw[2].details["trusted_rows"]

    def test_overrides_and_configuration(self) -> None:
        method = methods.get("sap", {"alphas": "[100, 10]", "per_layer": "true", "include": '["conv*"]'})
        assert isinstance(method, Sap) and method.alphas == (100.0, 10.0) and method.per_layer
        config = method.config()
        assert config["include"] == ["conv*"] and json.loads(json.dumps(config)) == config
        for overrides in ({"alpha": 3}, {"selection": "lowest"}, {"statistics": "none"}, {"trusted_count": "many"}):
            (name,) = overrides
            with pytest.raises(InputError, match=rf"`sap\.{name}`"):
                methods.get("sap", overrides)

    def test_no_true_labels_no_flags_needed(self) -> None:
        assert not methods.needs_flagged("sap") and methods.needs_flagged("sap+second-order")


OVERRIDES = {"sap.alphas": TOY["alphas"], "sap.trusted_count": 60, "second-order.steps": 2}


class TestChain:
    def test_is_one_after_the_other(self, poisoned) -> None:
        model, task = poisoned
        before = model.get_weights()
        outcome = methods.get("sap+second-order", OVERRIDES).unlearn(model, task)
        assert same(before, model.get_weights())
        first = Sap(**TOY).unlearn(model, task)
        second = methods.get("second-order", {"steps": 2}).unlearn(first.model, task)
        assert same(outcome.model.get_weights(), second.model.get_weights())
        assert outcome.work == first.work + second.work
        assert outcome.validation_accuracy_before == first.validation_accuracy_before
        assert outcome.validation_accuracy_after == accuracy(outcome.model, task.validation)
        assert outcome.validation_accuracy_after >= first.validation_accuracy_after
        assert first.applied and outcome.applied and outcome.status is OutcomeStatus.IMPROVED
        assert len(outcome.solves) == len(second.solves) > 0
        assert [row["step"] for row in outcome.history] == list(range(len(outcome.history)))
        stages = ["sap"] * len(first.history) + ["second-order"] * (len(second.history) - 1)
        assert [row["stage"] for row in outcome.history] == stages
        seconds = [row["seconds"] for row in outcome.history if "seconds" in row]
        assert seconds == sorted(seconds) and seconds[-1] <= outcome.duration_s
        assert {row["stage"] for row in outcome.solver_log} == {"second-order"}
        assert outcome.details["sap"] == first.details

    def test_nothing_to_gain(self, poisoned) -> None:
        model, task = poisoned
        images = task.validation.images
        perfect = dataclasses.replace(task, validation=Split(images, predict(model, images).argmax(1)))
        outcome = methods.get("sap+second-order", OVERRIDES).unlearn(model, perfect)
        assert not outcome.applied and outcome.status is OutcomeStatus.NOTHING_IMPROVED
        assert same(outcome.model.get_weights(), model.get_weights())
        assert outcome.validation_accuracy_before == outcome.validation_accuracy_after == 1.0

    def test_configuration_nests_by_stage(self) -> None:
        method = methods.get("sap+second-order", {"sap.rounds": "2", "second-order.steps": 4})
        config = method.config()
        assert list(config) == ["sap", "second-order"]
        assert (config["sap"]["rounds"], config["second-order"]["steps"]) == (2, 4)
        assert config["second-order"] == methods.get("second-order", {"steps": 4}).config()
        assert json.loads(json.dumps(config)) == config

    @pytest.mark.parametrize(
        ("name", "overrides", "argument"),
        [
            ("sap+sap", {}, "method"),
            ("sap+second-order+sap", {}, "method"),
            ("sap+", {}, "method"),
            ("+sap", {}, "method"),
            ("sap+nope", {}, "method"),
            ("sap+second-order", {"rounds": 2}, "sap[+]second-order.rounds"),
            ("sap+second-order", {"sap": 2}, "sap[+]second-order.sap"),
            ("sap+second-order", {"first-order.rows": 2}, "sap[+]second-order.first-order.rows"),
            ("sap+second-order", {"sap.steps": 2}, "sap.steps"),
            ("sap+second-order", {"sap.rounds": 0}, "rounds"),
        ],
    )
    def test_bad_chains(self, name: str, overrides: dict[str, Any], argument: str) -> None:
        with pytest.raises(InputError, match=f"`{argument}`"):
            methods.get(name, overrides)
