"""The mixture of two Gaussians, and the line that it draws."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.mixture import GaussianMixture

from support.detection import detect, scored
from support.paths import GOLDEN as GOLDEN_FILES
from unlearning.detection.base import DetectionStatus
from unlearning.detection.mixture import Mixture, fit_mixture

GOLDEN = json.loads((GOLDEN_FILES / "detection.json").read_text())


class TestMixture:
    def test_golden_values(self) -> None:
        losses = np.array(GOLDEN["losses"])
        constants = {key: GOLDEN[key] for key in ("max_iter", "tol", "reg_covar")}
        mixture = fit_mixture(losses, normalise=False, **constants)
        for key in ("means", "variances", "weights"):
            np.testing.assert_allclose(getattr(mixture, key), GOLDEN[key], rtol=1e-9)
        np.testing.assert_allclose(1 - mixture.posterior(losses), GOLDEN["low_posterior"], rtol=1e-7, atol=1e-12)
        assert np.flatnonzero(losses > mixture.boundary(losses, 0.5)).tolist() == GOLDEN["suspects"]

    def test_golden_suspects_through_the_detector(self) -> None:
        found = detect("loss-mixture", *scored(np.array(GOLDEN["losses"])), classes=2, normalise=False)
        np.testing.assert_allclose(found.scores, GOLDEN["losses"], rtol=1e-5)
        assert found.suspects.tolist() == GOLDEN["suspects"] and found.status is DetectionStatus.OK
        np.testing.assert_allclose(found.details["mixture"]["means"], GOLDEN["means"], rtol=1e-5)

    def test_normalising_is_fitting_on_the_unit_interval(self) -> None:
        rng = np.random.default_rng(3)
        scores = np.concatenate([rng.normal(2, 0.3, 300), rng.normal(9, 1.5, 60)])
        unit = (scores - scores.min()) / np.ptp(scores)
        oracle = GaussianMixture(2, max_iter=10, tol=1e-2, reg_covar=5e-4, random_state=0).fit(unit[:, np.newaxis])
        mixture = fit_mixture(scores)
        high = int(np.argmax(oracle.means_))
        np.testing.assert_allclose(mixture.posterior(scores), oracle.predict_proba(unit[:, np.newaxis])[:, high])
        shifted = fit_mixture(100 * scores - 7)
        np.testing.assert_allclose(shifted.posterior(100 * scores - 7), mixture.posterior(scores), atol=1e-9)

    def test_the_posterior_passes_the_threshold_at_the_boundary(self) -> None:
        mixture = Mixture((0.0, 3.0), (0.2, 1.0), (0.8, 0.2), True, 3)
        scores = np.linspace(-2, 6, 400)
        for threshold in (0.1, 0.5, 0.9):
            line = mixture.boundary(scores, threshold)
            assert line is not None and 0 < line < 3
            assert mixture.posterior(np.array([line]))[0] == pytest.approx(threshold, abs=1e-6)

    @pytest.mark.parametrize("variances", [(0.05, 4.0), (4.0, 0.05)])
    def test_unequal_widths_do_not_turn_the_ranking_round(self, variances: tuple[float, float]) -> None:
        mixture = Mixture((0.0, 3.0), variances, (0.5, 0.5), True, 3)
        scores = np.linspace(-8, 11, 500)
        beyond = mixture.posterior(scores) > 0.5
        # The bare posterior calls the lowest scores high, or the highest ones low.
        assert beyond[0] if variances[0] < variances[1] else not beyond[-1]
        line = mixture.boundary(scores, 0.5)
        assert line is not None and 0 <= line < 3

    def test_no_boundary(self) -> None:
        assert Mixture((0.0, 3.0), (0.1, 0.1), (0.5, 0.5), True, 3).boundary(np.zeros(9), 0.5) is None
