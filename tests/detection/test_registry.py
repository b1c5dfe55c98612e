"""Detectors by name, and options they refuse."""

from __future__ import annotations

import subprocess
import sys

import pytest

from support.paths import ROOT
from unlearning import detection
from unlearning.errors import InputError


class TestRegistry:
    def test_every_detector_has_a_summary(self) -> None:
        assert tuple(detection.summaries()) == detection.available()
        assert all(detection.summaries().values())

    def test_listing_imports_nothing_heavy(self) -> None:
        code = (
            "import sys; from unlearning import detection; detection.summaries()\n"
            "assert not {'tensorflow', 'keras', 'sklearn', 'numpy'} & set(sys.modules)"
        )
        subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)

    @pytest.mark.parametrize(
        ("name", "options", "match"),
        [
            ("no-such", {}, "one of loss-mixture"),
            ("loss-mixture", {"share": "0.1"}, "loss-mixture.share"),
            ("loss-mixture", {"threshold": "1.0"}, "threshold"),
            ("loss-mixture", {"threshold": "high"}, "loss-mixture.threshold"),
            ("loss-mixture", {"min_share": "0.8"}, "min_share < max_share"),
            ("loss-mixture", {"min_separation": "-1"}, "min_separation"),
            ("loss-mixture", {"max_iter": "0"}, "max_iter"),
            ("loss-mixture", {"reg_covar": "0"}, "reg_covar"),
            ("loss-ranking", {"share": "0"}, "share"),
            ("loss-ranking", {"count": "0"}, "count"),
            ("self-influence", {"damping": "0"}, "damping"),
            ("self-influence", {"cut": "value"}, "value"),
            ("self-influence", {"cut": "knife"}, "cut"),
            ("neighbours", {"neighbours": "0"}, "neighbours"),
            ("neighbours", {"metric": "manhattan"}, "metric"),
            ("cross-validation", {"folds": "1"}, "folds"),
            ("cross-validation", {"probe": "forest"}, "probe"),
            ("cross-validation", {"inverse_penalty": "0"}, "inverse_penalty"),
            ("combination", {"members": '["combination"]'}, "other than combination"),
            ("combination", {"members": "[]"}, "members"),
            ("combination", {"members": '["no-such"]'}, "one of loss-mixture"),
        ],
    )
    def test_bad_options(self, name: str, options: dict[str, str], match: str) -> None:
        with pytest.raises(InputError, match=match):
            detection.get(name, options)
