"""Edges of ridge regression and of scores, by hand."""

from __future__ import annotations

import numpy as np

from unlearning.detection.base import Detection, DetectionStatus
from unlearning.detection.metrics import score_detection
from unlearning.detection.ridge import leave_one_out


def test_a_feature_that_varies_by_rounding_only_has_no_say() -> None:
    rng = np.random.default_rng(0)
    features, labels = 1e3 * rng.normal(size=(20, 2)), np.arange(20) % 2
    noise = 1e-7 * labels[:, np.newaxis]  # 1e-10 of the widest feature; standardised, it would tell the labels
    found = leave_one_out(np.hstack([features, noise]), labels, 2, (0.1,))
    np.testing.assert_allclose(found.predictions, leave_one_out(features.copy(), labels, 2, (0.1,)).predictions)


def test_features_that_nearly_coincide_keep_their_small_eigenvalue() -> None:
    rng = np.random.default_rng(0)
    one, labels, penalty = rng.normal(size=14), np.arange(14) % 2, 1e-4
    features = np.stack([one, one + 0.05 * rng.normal(size=14)], axis=1)
    found = leave_one_out(features.copy(), labels, 2, (penalty,))
    z, y = (features - features.mean(0)) / features.std(0), np.eye(2)[labels]
    assert np.linalg.eigvalsh(z.T @ z)[0] < 0.1
    for row in range(14):
        kept = np.arange(14) != row
        centre, mean = z[kept].mean(0), y[kept].mean(0)
        a = z[kept] - centre
        slopes = np.linalg.solve(a.T @ a + 14 * penalty * np.eye(2), a.T @ (y[kept] - mean))
        np.testing.assert_allclose(found.predictions[row], mean + (z[row] - centre) @ slopes, atol=1e-9)


def test_suspecting_nothing_scores_nothing() -> None:
    found = Detection(np.array([0.2, 0.1]), np.array([], np.int64), np.zeros(2), None, DetectionStatus.NOTHING_SUSPECT)
    metrics = score_detection(found, np.array([0]))
    assert (metrics["precision"], metrics["recall"], metrics["f1"], metrics["auroc"]) == (0, 0, 0, 1)
