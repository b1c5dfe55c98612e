"""The geometric mean of two detectors' probabilities, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from support.small import blobs, small_model
from unlearning import detection
from unlearning.detection import Evidence
from unlearning.detection.detectors.early_stopped import EarlyStoppedProbe
from unlearning.detection.detectors.patch_ridge import PatchRidge

FIRST = np.array([[0.9, 0.1, 0.0], [0.5, 0.5, 0.0], [0.25, 0.25, 0.5]])
SECOND = np.array([[0.4, 0.6, 0.0], [0.0, 1.0, 0.0], [0.25, 0.25, 0.5]])


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list:
    """Both detectors answer with given numbers; returns who was asked."""
    found: list = []

    def answer(probabilities: np.ndarray, told: dict):
        def probabilities_of(self, evidence):
            found.append(self)
            return probabilities, told

        return probabilities_of

    monkeypatch.setattr(PatchRidge, "probabilities", answer(FIRST, {"mirror": True}))
    monkeypatch.setattr(EarlyStoppedProbe, "probabilities", answer(SECOND, {"stopped": 3}))
    return found


def test_roots_of_products_are_scaled_to_one(asked: list) -> None:
    pooled, told = detection.get("pooled").probabilities(Evidence(small_model(), blobs(3), 3, 0))
    roots = np.sqrt(np.maximum(FIRST, 1e-12) * np.maximum(SECOND, 1e-12))  # what is impossible is only very unlikely
    np.testing.assert_allclose(pooled, roots / roots.sum(1, keepdims=True), rtol=1e-10)
    assert told == {"out_of_sample": False, "patches": {"mirror": True}, "probe": {"stopped": 3, "augment": True}}


@pytest.mark.parametrize("augment", [True, False, None])
def test_options_reach_both(asked: list, augment: bool | None) -> None:
    pooled = detection.get("pooled", {"filters": 7, "epochs": 4, "batch_size": 9, "augment": augment})
    _, told = pooled.probabilities(Evidence(small_model(), blobs(3), 3, 0))
    patches, probe = asked
    assert patches.filters == 7 and (probe.epochs, probe.batch_size) == (4, 9)
    assert probe.augment is told["probe"]["augment"] is (augment is not False)  # patches found that mirroring helps
