"""The projected kernel: golden values, the published decomposition, and what must not matter."""

from __future__ import annotations

import dataclasses
import json

import keras
import numpy as np
import pytest

from support.paths import GOLDEN as GOLDEN_FILES
from support.projection import (
    ROUTES,
    by_svd,
    project,
    statistics_of,
    steep,
)
from unlearning.errors import InputError
from unlearning.projection.sites import find_sites
from unlearning.projection.solver import Projector, scaled_ratios
from unlearning.projection.statistics import Statistics, collect

GOLDEN = json.loads((GOLDEN_FILES / "sap.json").read_text())

ALPHAS = (1e1, 1e2, 1e3, 1e4, 1e5, 1e6)


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
