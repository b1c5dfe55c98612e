"""Scores of repairs against closed forms."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from support.small import blobs, fitted
from unlearning import evaluation
from unlearning.evaluation import (
    ScoredRows,
    agreement,
    class_report,
    label_loss,
    membership_auc,
    name_scores,
    predict,
    probabilities,
    restored_share,
    score_model,
)
from unlearning.task import Split


def permuting_model(order: list[int]) -> keras.Model:
    """A model whose logit `k` is channel `order[k]` of a one-pixel image."""
    model = keras.Sequential(
        [keras.Input((1, 1, len(order))), keras.layers.Flatten(), keras.layers.Dense(len(order), use_bias=False)]
    )
    model.set_weights([np.eye(len(order), dtype=np.float32)[:, order]])
    return model


def wide_model() -> keras.Model:
    """More weights than it takes to learn 200 images by heart."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    return keras.Sequential(
        [keras.Input((6, 6, 1)), layers.Flatten(), layers.Dense(256, activation="relu"), layers.Dense(3)]
    )


def one_pixel(rows: list[list[float]], labels: list[int]) -> Split:
    return Split(np.array(rows, np.float32).reshape(-1, 1, 1, 3), np.array(labels, np.int64))


class TestClassReport:
    def test_by_hand(self) -> None:
        """Class 1 is predicted four times, twice rightly; class 2 never; class 3 does not occur."""
        table = class_report(np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 1, 1]), 4)
        assert table["0"] == pytest.approx({"precision": 1, "recall": 2 / 3, "f1-score": 0.8, "support": 3})
        assert table["1"] == pytest.approx({"precision": 0.5, "recall": 1, "f1-score": 2 / 3, "support": 2})
        assert table["2"] == pytest.approx({"precision": 0, "recall": 0, "f1-score": 0, "support": 1})
        assert table["3"] == pytest.approx({"precision": 0, "recall": 0, "f1-score": 0, "support": 0})
        assert list(table) == ["0", "1", "2", "3"]


class TestAgreement:
    def test_share_of_equal_classes(self) -> None:
        assert agreement(np.array([0, 1, 2, 2]), np.array([0, 2, 2, 1])) == 0.5
        assert agreement(np.empty(0), np.empty(0)) is None


class TestMembership:
    @pytest.mark.parametrize(
        ("members", "others", "expected"),
        [
            ([1.0, 3.0], [2.0, 3.0], 2.5 / 4),  # of four pairs two are won, one is lost, one is a tie
            ([0.1, 0.2], [0.3, 9.0, 1.0], 1.0),
            ([5.0, 4.0], [1.0], 0.0),
            ([2.0] * 5, [2.0] * 3, 0.5),
            ([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], 0.5),
        ],
    )
    def test_is_the_share_of_pairs_won(self, members: list[float], others: list[float], expected: float) -> None:
        assert membership_auc(np.array(members), np.array(others)) == pytest.approx(expected)

    def test_no_rows_no_score(self) -> None:
        assert membership_auc(np.empty(0), np.ones(3)) is None
        assert membership_auc(np.ones(3), np.empty(0)) is None

    def test_a_memorised_wrong_label_shows_and_one_never_seen_does_not(self) -> None:
        train, others = blobs(200, seed=1, noise=1.0), blobs(200, seed=2, noise=1.0)
        bad, held_out = (Split(s.images, (s.labels + 1) % 3) for s in (train, others))
        half = np.arange(100)  # the model learns wrong labels of the first half, right ones of the second
        labels = np.where(np.arange(200) < 100, bad.labels, train.labels)
        memorised = fitted(wide_model(), Split(train.images, labels), epochs=40)
        honest = fitted(wide_model(), blobs(200, seed=3, noise=1.0), epochs=10)

        def auc(model: keras.Model) -> float | None:
            losses = [
                label_loss(probabilities(predict(model, s.images)), s.labels) for s in (bad.subset(half), held_out)
            ]
            return membership_auc(*losses)

        assert auc(memorised) > 0.8
        assert 0.4 < auc(honest) < 0.6


class TestScoreRepair:
    BEFORE, AFTER = permuting_model([0, 1, 2]), permuting_model([1, 0, 2])  # the repair swaps classes 0 and 1

    def rows(self, **changes) -> ScoredRows:
        values = {
            # predicted 0, 1, 2, 2 before and 1, 0, 2, 2 after
            "test": one_pixel([[9, 0, 0], [0, 9, 0], [0, 0, 9], [0, 0, 9]], [1, 1, 2, 0]),
            # predicted 0, 0 before and 1, 1 after; the second one's loss of label 0 is higher
            "bad": one_pixel([[2, 0, 0], [1, 0, 0]], [0, 0]),
            "bad_true_labels": np.array([1, 2]),
            "held_out": one_pixel([[1.5, 0, 0], [0, 1, 0]], [0, 0]),
            "reference": np.array([1, 0, 2, 1]),
            "num_classes": 3,
        }
        return ScoredRows(**{**values, **changes})

    def fields(self, rows: ScoredRows) -> dict[str, Any]:
        return name_scores(score_model(self.BEFORE, rows), score_model(self.AFTER, rows))

    def test_every_field_by_hand(self) -> None:
        fields = self.fields(self.rows())
        assert (fields["acc_before_fix"], fields["acc_after_fix"]) == (0.5, 0.5)
        assert fields["confusions"]["before"].tolist() == [[0, 0, 1], [1, 1, 0], [0, 0, 1]]
        assert fields["confusions"]["after"].tolist() == [[0, 0, 1], [1, 1, 0], [0, 0, 1]]
        assert (fields["corrected_accuracy_before"], fields["corrected_accuracy_after"]) == (0.0, 0.5)
        assert (fields["bad_label_agreement_before"], fields["bad_label_agreement_after"]) == (1.0, 0.0)
        assert (fields["disagreement_before"], fields["disagreement_after"]) == (0.75, 0.25)
        assert fields["class_report_after"]["1"] == pytest.approx(
            {"precision": 1, "recall": 0.5, "f1-score": 2 / 3, "support": 2}
        )
        # Losses of label 0 before: members ln(1 + 2 e^-2) < ln(1 + 2 e^-1), others ln(1 + 2 e^-1.5) and ln(2 + e):
        # three of four pairs are won. After, logits 0 and 1 change places: only [0, 1, 0] has a low loss.
        assert fields["membership_auc_before"] == pytest.approx(0.75)
        assert fields["membership_auc_after"] == pytest.approx(0.25)

    def test_what_cannot_be_scored_is_none(self) -> None:
        empty = one_pixel([], [])
        rows = self.rows(bad=empty, bad_true_labels=np.empty(0, np.int64), held_out=empty, reference=None)
        fields = self.fields(rows)
        for when in ("before", "after"):
            for name in ("corrected_accuracy", "bad_label_agreement", "membership_auc", "disagreement"):
                assert fields[f"{name}_{when}"] is None, name
        assert fields["acc_after_fix"] == 0.5

    def test_a_new_score_is_one_function(self, monkeypatch) -> None:
        monkeypatch.setitem(evaluation._SCORES, "lowest_class", lambda said: int(said.test.min()))
        fields = self.fields(self.rows())
        assert (fields["lowest_class_before"], fields["lowest_class_after"]) == (0, 0)


class TestScores:
    def test_restored_share(self) -> None:
        assert restored_share(0.6, 0.7, 0.8) == pytest.approx(0.5)
        assert restored_share(0.6, 0.5, 0.8) == pytest.approx(-0.5)
        assert restored_share(0.8, 0.9, 0.8) is None

    def test_probabilities_of_either_kind_of_scores(self) -> None:
        logits = np.array([[0.0, np.log(3.0)], [1000.0, 0.0]])
        expected = [[0.25, 0.75], [1.0, 0.0]]
        np.testing.assert_allclose(probabilities(logits), expected)
        np.testing.assert_allclose(probabilities(np.array(expected)), expected)

    def test_probabilities_are_brought_to_a_sum_of_one(self) -> None:
        np.testing.assert_allclose(probabilities(np.array([[0.2, 0.3]]), closed=True), [[0.4, 0.6]])
