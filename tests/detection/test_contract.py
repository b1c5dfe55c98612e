"""What every registered detector promises, whoever wrote it."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from typing import ClassVar

import numpy as np
import pytest

from support.detection import FLIPS
from support.paths import ROOT
from support.small import blobs, small_model
from unlearning.detection import DETECTORS, Detection, DetectionStatus, Detector, Evidence, available, get, register
from unlearning.detection.cuts import AnyCut
from unlearning.errors import InputError
from unlearning.progress import Reporter, reporting
from unlearning.registry import Role
from unlearning.task import Split

SHORT = {
    "patches": {"filters": 16},
    "probe": {"epochs": 8, "batch_size": 16, "learning_rate": 0.01},
    "pooled": {"filters": 16, "epochs": 2},
}
SILENT_ROWS = 512
"""At least one sign of life comes from so many rows, beside the one at the start."""
every_detector = pytest.mark.parametrize("name", DETECTORS.names())


def runnable(name: str) -> Detector:
    missing = [package for package in DETECTORS.entry(name).needs if importlib.util.find_spec(package) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} is not installed")
    return get(name, SHORT.get(name))


def test_all_are_imported_without_keras() -> None:
    modules = sorted({entry.target.partition(":")[0] for entry in DETECTORS.entries()})
    code = f"import sys, {', '.join(modules)}; assert not {{'keras', 'tensorflow'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@every_detector
class TestEveryDetector:
    found: ClassVar[dict[str, Detection]] = {}
    """By name, what was found in the planted rows."""

    def find(self, name: str, planted) -> Detection:
        if name not in self.found:
            self.found[name] = runnable(name).detect(*planted[:2], 3, 5)
        return self.found[name]

    def test_has_an_entry_that_says_what_it_is(self, name: str) -> None:
        entry = DETECTORS.entry(name)
        assert entry.summary and not entry.summary.endswith(".") and entry.family
        assert isinstance(entry.role, Role)
        assert issubclass(entry.load(), Detector)

    def test_comes_back_from_its_configuration(self, name: str) -> None:
        detector = get(name)
        again = get(name, json.loads(json.dumps(detector.config())))
        assert again == detector and again.config() == detector.config()
        assert get(name, {key: json.dumps(value) for key, value in detector.config().items()}) == detector

    def test_every_option_is_documented(self, name: str) -> None:
        fields = DETECTORS.load(name).model_fields
        assert not [option for option, field in fields.items() if not field.description]

    def test_unknown_options_are_refused(self, name: str) -> None:
        with pytest.raises(InputError, match=rf"{name}\.speed"):
            get(name, {"speed": 1})

    def test_ranks_every_row_and_repeats_itself(self, planted, name: str) -> None:
        model, split, _ = planted
        before = [w.copy() for w in model.get_weights()]
        found = self.find(name, planted)
        with reporting(Reporter()) as heard:
            again = runnable(name).detect(model, split, 3, 5)
        assert heard.signs > 1 + len(split) / SILENT_ROWS, "of a minute's work on more rows nobody would hear"
        assert found.scores.shape == found.suggested_labels.shape == (len(split),)
        assert np.isfinite(found.scores).all() and np.ptp(found.scores) > 0
        assert ((found.suggested_labels >= 0) & (found.suggested_labels < 3)).all()
        assert isinstance(found.status, DetectionStatus)
        json.dumps(dict(found.details), allow_nan=False)
        np.testing.assert_array_equal(found.scores, again.scores)
        np.testing.assert_array_equal(found.suspects, again.suspects)
        for old, new in zip(before, model.get_weights(), strict=True):
            np.testing.assert_array_equal(old, new)

    def test_reads_the_given_labels(self, planted, name: str) -> None:
        """Right labels in place of the planted flips make these rows less suspicious; nothing else tells of them."""
        model, split, true = planted
        wrong, right = self.find(name, planted), runnable(name).detect(model, Split(split.images, true), 3, 5)

        def ranks(found: Detection) -> float:
            return float(np.mean(np.argsort(np.argsort(found.scores))[:FLIPS]))

        assert ranks(wrong) > ranks(right)

    def test_refuses_rows_that_do_not_fit(self, planted, name: str) -> None:
        model, split, _ = planted
        detector = runnable(name)
        with pytest.raises(InputError, match="two rows"):
            detector.detect(model, split.subset(np.arange(1)), 3)
        with pytest.raises(InputError, match=r"classes 0\.\.1"):
            detector.detect(model, split, 2)
        with pytest.raises(InputError, match="5 outputs"):
            detector.detect(model, split, 5)
        with pytest.raises(InputError, match="input shape"):
            detector.detect(model, Split(split.images[:, :4], split.labels), 3)


class Brightness(AnyCut):
    """Bright images are suspicious."""

    gain: float = 1.0
    """What brightness is multiplied with."""

    def examine(self, evidence: Evidence) -> Detection:
        scores = self.gain * evidence.split.images.mean(axis=(1, 2, 3)).astype(float)
        return self._cut(scores, evidence.labels, evidence.labels, evidence.seed, {})


def test_a_stranger_can_register_a_detector() -> None:
    register("brightness", Brightness, role=Role.CONTROL, preset={"cut": "share", "share": 0.1})
    try:
        assert "brightness" in available() and DETECTORS.entry("brightness").summary == "Bright images are suspicious"
        split = blobs(50)
        found = get("brightness", {"gain": "2"}).detect(small_model(), split, 3)
        assert len(found.suspects) == 5 and get("brightness").config()["share"] == 0.1
        np.testing.assert_allclose(found.scores, 2 * split.images.mean(axis=(1, 2, 3)), rtol=1e-6)
        assert get("combination", {"members": ["brightness", "loss-ranking"]}).detect(small_model(), split, 3)
        with pytest.raises(InputError, match="not registered yet"):
            register("brightness", Brightness)
    finally:
        DETECTORS.remove("brightness")
    assert "brightness" not in available()
