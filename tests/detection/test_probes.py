"""Detectors that judge by a probe of their own see through memorised labels."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from support.detection import digit_model
from support.small import blobs, small_model
from unlearning import detection
from unlearning.detection.base import DetectionStatus
from unlearning.errors import InputError
from unlearning.task import Split


class TestDetectors:
    @pytest.mark.parametrize(
        ("name", "options"),
        [
            ("patches", {"filters": 32}),
            ("probe", {"epochs": 10, "batch_size": 16}),
            ("probe", {"epochs": 10, "batch_size": 16, "folds": 3}),
            ("pooled", {"filters": 32, "epochs": 10, "batch_size": 16}),
        ],
    )
    def test_see_through_memorised_labels(self, memorised, name: str, options: dict) -> None:
        model, split, true = memorised
        weights = [w.copy() for w in model.get_weights()]
        found = detection.get(name, options).detect(model, split, 10)
        assert roc_auc_score(split.labels != true, found.scores) > 0.9
        assert found.status is DetectionStatus.OK
        # It is counted among some 25 anchors: two standard deviations of chance.
        assert found.details["estimated_noise_rate"] == pytest.approx(0.2, abs=0.16)
        precision = np.mean((split.labels != true)[found.suspects])
        assert precision > 0.6
        right = np.mean(found.suggested_labels[found.suspects] == true[found.suspects])
        assert right > 0.5
        assert (found.suggested_labels != split.labels)[
            found.suspects
        ].all()  # whose own label is likeliest, is no suspect
        for before, after in zip(weights, model.get_weights(), strict=True):
            np.testing.assert_array_equal(before, after)

    def test_patches_do_not_look_at_the_model(self, memorised) -> None:
        model, split, _ = memorised
        fresh = digit_model()
        one, other = (detection.get("patches", {"filters": 16}).detect(m, split, 10) for m in (model, fresh))
        np.testing.assert_array_equal(one.scores, other.scores)

    def test_pooling_adds_up_log_odds_and_asks_the_patches_whether_to_mirror(self, memorised) -> None:
        model, split, _ = memorised
        options = {"epochs": 2, "batch_size": 16}
        pooled = detection.get("pooled", {**options, "filters": 32}).detect(model, split, 10)
        assert pooled.details["probe"]["augment"] == pooled.details["patches"]["mirror"]
        # Where both call the same class likeliest next to the given one, the pool's log-odds are their mean.
        one, two = (
            detection.get("patches", {"filters": 32}).detect(model, split, 10),
            detection.get("probe", {**options, "augment": pooled.details["probe"]["augment"]}).detect(model, split, 10),
        )
        agree = (one.suggested_labels == two.suggested_labels) & (one.suggested_labels != split.labels)
        assert agree.sum() > 10
        np.testing.assert_allclose(pooled.scores[agree], (one.scores[agree] + two.scores[agree]) / 2, rtol=1e-4)
        with pytest.raises(InputError, match="epochs"):
            detection.get("pooled", {"epochs": 0})

    def test_a_probe_with_folds_never_saw_what_it_judges(self, memorised) -> None:
        """Changing a row's own label moves its score only through that label, not through the probe."""
        model, split, _ = memorised
        probe = detection.get("probe", {"epochs": 1, "folds": 2})
        changed = split.labels.copy()
        changed[7] = (changed[7] + 1) % 10
        one, other = (probe.detect(model, s, 10) for s in (split, Split(split.images, changed)))
        assert one.suggested_labels[7] == other.suggested_labels[7]

    def test_right_labels_give_a_status_and_no_suspects(self, caplog) -> None:
        split = blobs(200, noise=0.05)
        found = detection.get("patches", {"filters": 16, "mirror": False}).detect(small_model(), split, 3)
        assert found.details["leave_one_out_accuracy"] == 1
        assert not len(found.suspects) and found.status is not DetectionStatus.OK
        assert "no row" in caplog.text

    @pytest.mark.parametrize(
        ("name", "options", "message"),
        [
            ("patches", {"filters": 0}, "filters"),
            ("patches", {"penalties": []}, "penalties"),
            ("patches", {"activation": -1}, "activation"),
            ("patches", {"anchor_share": 0}, "anchor_share"),
            ("patches", {"cut": "elbow"}, "cut"),
            ("probe", {"folds": 1}, "folds"),
            ("probe", {"epochs": 0}, "epochs"),
            ("probe", {"optimizer": "lion"}, "optimizer"),
            ("probe", {"learning_rate": 0}, "learning_rate"),
        ],
    )
    def test_bad_options(self, name: str, options: dict, message: str) -> None:
        with pytest.raises(InputError, match=message):
            detection.get(name, options)

    def test_more_folds_than_rows(self, memorised) -> None:
        model, split, _ = memorised
        with pytest.raises(InputError, match="folds"):
            detection.get("probe", {"folds": 9}).detect(model, split.subset(np.arange(5)), 10)

    def test_a_diverging_probe(self, memorised) -> None:
        model, split, _ = memorised
        with pytest.raises(InputError, match="diverge"):
            detection.get("probe", {"optimizer": "sgd", "learning_rate": 1e30}).detect(model, split, 10)

    @pytest.mark.parametrize("cut", ["mixture", "share", "value"])
    def test_other_cuts(self, memorised, cut: str) -> None:
        model, split, _ = memorised
        found = detection.get("patches", {"filters": 16, "cut": cut, "value": 0.0}).detect(model, split, 10)
        assert 0 < len(found.suspects) < 250

    def test_gmm_is_the_loss_mixture(self, memorised) -> None:
        model, split, _ = memorised
        one, other = (detection.get(name).detect(model, split, 10) for name in ("gmm", "loss-mixture"))
        np.testing.assert_array_equal(one.suspects, other.suspects)
