"""Detectors find planted flips, and agree with what they are made of."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest

from support.detection import FLIPS, Streamed, detect
from support.small import blobs, fitted
from unlearning.detection.base import DetectionStatus
from unlearning.detection.metrics import score_detection
from unlearning.errors import InputError
from unlearning.evaluation import predict
from unlearning.projection.selection import cross_entropy
from unlearning.task import Split


class TestPlantedFlips:
    @pytest.mark.parametrize(
        ("name", "options", "least"),
        [
            ("loss-mixture", {}, 0.97),
            ("loss-ranking", {}, 0.97),
            ("self-influence", {}, 0.97),
            ("self-influence", {"curvature": True}, 0.93),
            ("neighbours", {}, 0.97),
            ("neighbours", {"metric": "euclidean", "weighted": True}, 0.97),
            ("cross-validation", {}, 0.97),
            ("cross-validation", {"probe": "neighbours"}, 0.95),
            ("combination", {}, 0.98),
        ],
    )
    def test_are_found(self, planted, name: str, options: dict, least: float) -> None:
        model, split, true = planted
        before = [w.copy() for w in model.get_weights()]
        found = detect(name, model, split, **options)
        metrics = score_detection(found, np.arange(FLIPS))
        assert metrics["auroc"] >= least and found.status is DetectionStatus.OK
        assert metrics["precision"] >= 0.6 and metrics["recall"] >= 0.8
        assert np.mean(found.suggested_labels[:FLIPS] == true[:FLIPS]) >= 0.85
        json.dumps(dict(found.details), allow_nan=False)
        again = detect(name, model, split, **options)
        np.testing.assert_array_equal(found.scores, again.scores)
        np.testing.assert_array_equal(found.suspects, again.suspects)
        assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))

    def test_memorised_labels_are_seen_by_other_rows(self) -> None:
        """A head that has learned every label by heart: the losses are silent, cross-validation is not."""
        true = blobs(200, noise=0.8)
        given = true.labels.copy()
        given[:30] = (given[:30] + 1) % 3
        keras.utils.set_random_seed(0)
        wide = keras.Sequential(
            [
                keras.Input((6, 6, 1)),
                keras.layers.Flatten(),
                keras.layers.Dense(512, activation="relu", trainable=False),
                keras.layers.Dense(3),
            ]
        )
        split = Split(true.images, given)
        model = fitted(wide, split, epochs=60, learning_rate=0.02)
        assert np.mean(predict(model, split.images).argmax(-1) == given) > 0.99
        own = detect("loss-ranking", model, split)
        unseen = detect("cross-validation", model, split, inverse_penalty=1e-3)
        auroc = [score_detection(found, np.arange(30))["auroc"] for found in (own, unseen)]
        assert auroc[1] >= 0.98 and auroc[1] > auroc[0] + 0.03
        assert np.mean(own.suggested_labels[:30] == given[:30]) > 0.95
        assert np.mean(unseen.suggested_labels[:30] == true.labels[:30]) > 0.95

    def test_images_are_streamed(self, planted) -> None:
        model, split, _ = planted
        streamed = Split(Streamed(split.images), split.labels)
        for name in ("loss-mixture", "neighbours"):
            expected = detect(name, model, split).scores
            np.testing.assert_allclose(detect(name, model, streamed).scores, expected, atol=1e-6)

    def test_losses_are_those_of_the_library(self, planted) -> None:
        model, split, _ = planted
        np.testing.assert_array_equal(detect("loss-ranking", model, split).scores, cross_entropy(model, split))

    def test_a_count_of_rows(self, planted) -> None:
        model, split, _ = planted
        found = detect("loss-ranking", model, split, count=7)
        assert set(found.suspects) == set(np.argsort(-found.scores)[:7])
        assert found.threshold == found.scores[found.suspects].min()
        share = detect("self-influence", model, split, cut="share", share=0.1)
        assert len(share.suspects) == 40
        with pytest.raises(InputError, match="number of rows"):
            detect("loss-ranking", model, split, count=401)

    def test_the_combination_is_the_mean_rank(self, planted) -> None:
        model, split, _ = planted
        names = ["loss-ranking", "neighbours"]
        found = detect("combination", model, split, members=names)
        ranks = []
        for name in names:
            scores = detect(name, model, split).scores
            below = (scores[:, np.newaxis] > scores).sum(1) + ((scores[:, np.newaxis] == scores).sum(1) - 1) / 2
            ranks.append(below / (len(scores) - 1))
        np.testing.assert_allclose(found.scores, np.mean(ranks, axis=0), atol=1e-12)
        counts = [len(detect(name, model, split).suspects) for name in names]
        assert len(found.suspects) == int(np.median(counts))
        assert len(detect("combination", model, split, members=names, cut="share", share=0.25).suspects) == 100
