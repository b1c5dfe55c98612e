"""Confident learning, with cleanlab and without."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from support.detection import FLIPS, detect
from unlearning.detection.metrics import score_detection
from unlearning.errors import InputError
from unlearning.evaluation import predict, probabilities


class TestConfidentLearning:
    def test_without_cleanlab(self, planted, monkeypatch) -> None:
        for name in ("cleanlab", "cleanlab.filter", "cleanlab.rank"):
            monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(InputError, match="pip install cleanlab"):
            detect("confident-learning", *planted[:2])

    @pytest.mark.parametrize("out_of_sample", [False, True])
    def test_planted_flips(self, planted, out_of_sample: bool) -> None:
        pytest.importorskip("cleanlab")
        from cleanlab.filter import find_label_issues

        model, split, _ = planted
        found = detect("confident-learning", model, split, out_of_sample=out_of_sample)
        assert score_detection(found, np.arange(FLIPS))["auroc"] >= 0.97
        assert found.details["out_of_sample"] is out_of_sample
        if not out_of_sample:
            own = probabilities(predict(model, split.images))
            np.testing.assert_array_equal(found.suspects, np.flatnonzero(find_label_issues(split.labels, own)))
