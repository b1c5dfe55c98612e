"""Leave-one-out ridge regression against fits without each row, and what is made of it."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from unlearning.detection.base import Evidence
from unlearning.detection.cuts import AnchoredCut, estimate_noise_rate, log_odds
from unlearning.detection.ridge import calibrate, leave_one_out
from unlearning.errors import InputError
from unlearning.task import Split


class TestLeaveOneOut:
    @pytest.mark.parametrize("columns", [5, 30])  # fewer and more than rows
    def test_equals_fits_without_each_row(self, columns: int) -> None:
        rng = np.random.default_rng(0)
        features, labels = rng.normal(size=(14, columns)), rng.integers(0, 3, 14)
        penalty = 0.3
        found = leave_one_out(features.copy(), labels, 3, (penalty,))
        z = (features - features.mean(0)) / features.std(0)
        y = np.eye(3)[labels]
        for row in range(14):
            kept = np.arange(14) != row
            centre, mean = z[kept].mean(0), y[kept].mean(0)
            a = z[kept] - centre
            slopes = np.linalg.solve(a.T @ a + 14 * penalty * np.eye(columns), a.T @ (y[kept] - mean))
            np.testing.assert_allclose(found.predictions[row], mean + (z[row] - centre) @ slopes, atol=1e-10)

    def test_chooses_the_penalty_of_least_error(self) -> None:
        rng = np.random.default_rng(1)
        features, labels = rng.normal(size=(60, 50)), rng.integers(0, 2, 60)  # nothing to learn: shrink hard
        found = leave_one_out(features, labels, 2, (1e-4, 1e3))
        assert found.penalty == pytest.approx(1e3)
        assert found.errors[1e3] < found.errors[1e-4]

    def test_constant_and_missing_features_and_classes_do_no_harm(self) -> None:
        features = np.random.default_rng(2).normal(size=(20, 3))
        features[:, 1] = 7
        found = leave_one_out(features, np.arange(20) % 2, 4, (0.1,))
        assert np.isfinite(found.predictions).all() and found.predictions.shape == (20, 4)
        np.testing.assert_allclose(found.predictions[:, 2:], 0, atol=1e-12)

    def test_more_features_than_rows(self) -> None:
        rng = np.random.default_rng(3)
        found = leave_one_out(rng.normal(size=(10, 40)), np.arange(10) % 2, 2, (1e-3,))
        assert np.isfinite(found.predictions).all()

    def test_bad_input(self) -> None:
        with pytest.raises(InputError, match="three rows"):
            leave_one_out(np.zeros((2, 1)), np.array([0, 1]), 2, (1.0,))
        with pytest.raises(InputError, match="finite"):
            leave_one_out(np.full((5, 2), np.nan), np.zeros(5, int), 2, (1.0,))


class TestProbabilities:
    def test_calibration_finds_the_temperature(self) -> None:
        rng = np.random.default_rng(0)
        logits = rng.normal(0, 2, (20_000, 4))
        labels = (logits + rng.gumbel(size=logits.shape)).argmax(-1)  # drawn from softmax(logits)
        expected = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        np.testing.assert_allclose(calibrate(logits / 5, labels), expected, atol=0.03)

    def test_log_odds_by_hand(self) -> None:
        probabilities = np.array([[0.7, 0.2, 0.1], [0.7, 0.2, 0.1], [0.0, 0.5, 0.5]])
        odds = log_odds(probabilities, np.array([0, 2, 1]))
        np.testing.assert_allclose(odds, [np.log(2 / 7), np.log(7), 0], atol=1e-12)

    def test_the_noise_rate_of_anchors(self) -> None:
        rng = np.random.default_rng(0)
        true = rng.integers(0, 5, 20_000)
        sure = rng.uniform(0.3, 1, len(true))
        predicted = np.where(rng.random(len(true)) < sure, true, rng.integers(0, 5, len(true)))
        probabilities = np.full((len(true), 5), ((1 - sure) / 4)[:, np.newaxis])
        probabilities[np.arange(len(true)), predicted] = sure
        given = np.where(rng.random(len(true)) < 0.3, (true + 1) % 5, true)
        assert estimate_noise_rate(probabilities, given) == pytest.approx(0.3, abs=0.04)
        assert np.mean(predicted != given) > 0.45  # what counting all disagreements would say


class Told(AnchoredCut):
    """A detector that is told the probabilities."""

    table: Any

    def probabilities(self, evidence: Evidence) -> tuple[np.ndarray, dict[str, Any]]:
        return self.table, {}


def test_no_row_is_suspect_whose_given_label_is_the_likeliest() -> None:
    """Anchors may expect more wrong labels than there are rows with a likelier class."""
    labels = np.array([0, 1] * 50)
    table = np.where(labels[:, np.newaxis] == np.arange(2), 0.6, 0.4)
    # The six surest rows speak against their labels.
    table[:6] = np.where(labels[:6, np.newaxis] == np.arange(2), 0.1, 0.9)
    split = Split(np.zeros((100, 1, 1, 1), np.float32), labels)
    evidence = Evidence(keras.Sequential([keras.Input((1, 1, 1)), keras.layers.Flatten()]), split, 2, 0)
    found = Told(table=table).examine(evidence)
    assert found.details["estimated_noise_rate"] == 1.0, "all anchors are wrong: by them, all rows would be"
    np.testing.assert_array_equal(np.sort(found.suspects), np.arange(6))
