"""Scores of detections by hand."""

from __future__ import annotations

import numpy as np
import pytest

from unlearning.detection.base import Detection, DetectionStatus
from unlearning.detection.metrics import score_detection
from unlearning.errors import InputError


class TestMetrics:
    def test_by_hand(self) -> None:
        found = Detection(np.array([0.9, 0.8, 0.3, 0.1]), np.array([0, 1]), np.zeros(4), 0.5, DetectionStatus.OK)
        metrics = score_detection(found, np.array([0, 2]))
        assert metrics == pytest.approx(
            {"precision": 0.5, "recall": 0.5, "f1": 0.5, "auroc": 0.75, "average_precision": (1 + 2 / 3) / 2}
        )
        none = score_detection(found, np.array([], np.int64))
        assert none["auroc"] is None and none["average_precision"] is None and none["precision"] == 0
        with pytest.raises(InputError, match="bad_rows"):
            score_detection(found, np.array([4]))
