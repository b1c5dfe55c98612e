"""What says that a line deserves no trust, and what is refused."""

from __future__ import annotations

import logging

import keras
import numpy as np
import pytest

from support.detection import detect, scored
from support.small import small_model
from unlearning import detection
from unlearning.detection.base import Detection, DetectionStatus
from unlearning.errors import InputError
from unlearning.task import Split


class TestGuards:
    def warned(self, caplog, status: DetectionStatus) -> None:
        assert any(str(status) in r.message and r.levelno == logging.WARNING for r in caplog.records)

    @pytest.mark.parametrize("name", sorted(set(detection.available()) - {"confident-learning"}))
    def test_equal_scores(self, name: str, caplog) -> None:
        model = small_model(2)
        split = Split(np.ones((80, 6, 6, 1), np.float32), np.zeros(80, np.int64))
        if name == "cross-validation":
            with pytest.raises(InputError, match="two classes"):
                detect(name, model, split, classes=2)
            return
        options = {"members": ["loss-mixture", "loss-ranking"]} if name == "combination" else {}
        found = detect(name, model, split, classes=2, **options)
        assert found.status is DetectionStatus.CONSTANT_SCORES and not len(found.suspects)
        self.warned(caplog, DetectionStatus.CONSTANT_SCORES)

    def test_one_component(self, caplog) -> None:
        losses = np.random.default_rng(0).normal(5, 0.5, 600)
        found = detect("loss-mixture", *scored(losses), classes=2)
        assert found.status is DetectionStatus.COLLAPSED_MIXTURE and not len(found.suspects)
        assert found.threshold is None and found.details["mixture"]["separation"] < 2
        self.warned(caplog, DetectionStatus.COLLAPSED_MIXTURE)
        assert len(detect("loss-mixture", *scored(losses), classes=2, min_separation=0).suspects)

    def test_nearly_all_suspect(self, caplog) -> None:
        rng = np.random.default_rng(0)
        losses = np.concatenate([rng.uniform(0.1, 0.2, 60), rng.uniform(4, 5, 540)])
        found = detect("loss-mixture", *scored(losses), classes=2)
        assert found.status is DetectionStatus.LOPSIDED and found.suspects.tolist() == list(range(60, 600))
        self.warned(caplog, DetectionStatus.LOPSIDED)
        assert detect("loss-mixture", *scored(losses), classes=2, max_share=0.95).status is DetectionStatus.OK

    def test_too_few_suspects(self) -> None:
        losses = np.append(np.random.default_rng(0).uniform(0.1, 0.2, 599), 5)
        found = detect("loss-mixture", *scored(losses), classes=2, min_share=0.01)
        assert found.status is DetectionStatus.LOPSIDED and found.suspects.tolist() == [599]

    def test_nothing_suspect(self, planted, caplog) -> None:
        found = detect("self-influence", *planted[:2], cut="value", value=1e6)
        assert found.status is DetectionStatus.NOTHING_SUSPECT and not len(found.suspects)
        self.warned(caplog, DetectionStatus.NOTHING_SUSPECT)

    def test_one_mixture_a_class(self, caplog) -> None:
        rng = np.random.default_rng(0)
        easy = np.concatenate([rng.uniform(0.01, 0.02, 200), rng.uniform(0.5, 0.6, 40)])
        hard = np.concatenate([rng.uniform(4, 4.3, 200), rng.uniform(9, 9.5, 40)])
        model, split = scored(np.concatenate([easy, hard, [3.0] * 5]))
        labels = np.repeat([0, 1, 2], [240, 240, 5])
        model = keras.Sequential(
            [keras.Input((1, 1, 3)), keras.layers.Flatten(), keras.layers.Softmax()]
        )  # the score of the given class is 0, that of one other class makes the loss
        images = np.full((485, 1, 1, 3), -60, np.float32)
        images[np.arange(485), 0, 0, labels] = 0
        images[np.arange(485), 0, 0, (labels + 1) % 3] = split.images[:, 0, 0, 1]
        found = detect("loss-mixture", model, Split(images, labels), per_class=True)
        assert found.suspects.tolist() == [*range(200, 240), *range(440, 480)]
        assert found.threshold is None and found.details["classes"]["2"]["status"] == "too_few_or_equal"
        assert any("class 2" in r.message for r in caplog.records)
        together = detect("loss-mixture", model, Split(images, labels))
        assert not set(range(200, 240)) & set(together.suspects.tolist())

    def test_bad_input(self, planted) -> None:
        model, split, _ = planted
        with pytest.raises(InputError, match="two rows"):
            detect("loss-mixture", model, split.subset(np.arange(1)))
        with pytest.raises(InputError, match=r"classes 0\.\.1"):
            detect("loss-mixture", model, split, classes=2)
        with pytest.raises(InputError, match="5 outputs"):
            detect("loss-mixture", model, split, classes=5)
        with pytest.raises(InputError, match="neighbours"):
            detect("neighbours", model, split.subset(np.arange(20)))
        with pytest.raises(InputError, match="neighbours"):
            detect("cross-validation", model, split.subset(np.arange(30)), probe="neighbours")
        with pytest.raises(InputError, match="folds"):
            detect("cross-validation", model, split.subset(np.arange(20)), folds=20)
        broken = small_model()
        broken.set_weights([np.full_like(w, np.nan) for w in broken.get_weights()])
        with pytest.raises(InputError, match="finite"):
            detect("loss-mixture", broken, split)

    def test_a_detection_is_checked(self) -> None:
        def make(scores=(0.0, 1.0), suspects=(1,), labels=(0, 0)) -> Detection:
            return Detection(np.array(scores), np.array(suspects), np.array(labels), None, DetectionStatus.OK)

        assert make().scores.dtype == np.float64
        for change, match in (
            ({"scores": (0.0, np.nan)}, "finite"),
            ({"suspects": (1, 0)}, "ascending"),
            ({"suspects": (2,)}, "ascending"),
            ({"labels": (0,)}, "one label a row"),
        ):
            with pytest.raises(InputError, match=match):
                make(**change)
