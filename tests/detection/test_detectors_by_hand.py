"""Detectors on rows few enough to be ranked by hand."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from unlearning import detection
from unlearning.detection.base import Detection, DetectionStatus
from unlearning.detection.detectors import combination
from unlearning.errors import InputError

PROBABILITIES = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.7, 0.3], [0.05, 0.95]])
EVIDENCE = SimpleNamespace(probabilities=PROBABILITIES, labels=np.zeros(5, np.int64), num_classes=2, seed=0)


@pytest.mark.parametrize(
    ("options", "suspects"), [({"share": 0.4}, [1, 4]), ({"count": 3, "share": 0.1}, [1, 2, 4]), ({"share": 0.01}, [4])]
)
def test_the_highest_losses(options: dict, suspects: list[int]) -> None:
    found = detection.get("loss-ranking", options).examine(EVIDENCE)
    assert sorted(found.suspects) == suspects
    np.testing.assert_allclose(found.scores, -np.log(PROBABILITIES[:, 0]))
    assert found.suggested_labels.tolist() == [0, 1, 1, 0, 1]
    assert found.details["out_of_sample"] is False


def test_a_combination_means_ranks_and_counts_votes(monkeypatch) -> None:
    """Ranks 0..4 of three members, a tie shared; the median of 1, 2 and 3 suspects; the first member's word in ties."""
    answers = {
        "loss-mixture": ([5.0, 4.0, 3.0, 2.0, 1.0], [0], [0, 1, 2, 0, 0]),
        "neighbours": ([1.0, 9.0, 2.0, 2.0, 0.0], [1, 2], [1, 1, 0, 0, 0]),
        "cross-validation": ([3.0, 2.0, 1.0, 0.0, 4.0], [0, 1, 4], [1, 1, 1, 0, 0]),
    }

    def get(name: str):
        scores, suspects, suggested = (np.array(part) for part in answers[name])
        found = Detection(scores, suspects, suggested, None, DetectionStatus.OK)
        return SimpleNamespace(examine=lambda _: found)

    monkeypatch.setattr(combination, "get", get)
    evidence = SimpleNamespace(labels=np.zeros(5, np.int64), num_classes=3, seed=0)
    found = combination.Combination(members=tuple(answers)).examine(evidence)
    np.testing.assert_allclose(found.scores * 12, [4 + 1 + 3, 3 + 4 + 2, 2 + 2.5 + 1, 1 + 2.5 + 0, 0 + 0 + 4])
    assert sorted(found.suspects) == [0, 1]
    assert found.suggested_labels.tolist() == [1, 1, 2, 0, 0]
    assert [member["suspects"] for member in found.details["members"].values()] == [1, 2, 3]


def test_folds_are_no_more_than_the_rows_of_the_largest_class() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 3)
    evidence = SimpleNamespace(labels=labels, features=rng.normal(size=(6, 2)), num_classes=2, seed=0)
    found = detection.get("cross-validation", {"folds": 3, "cut": "share"}).examine(evidence)
    assert found.details["out_of_sample"] is True and found.details["folds"] == 3
    with pytest.raises(InputError, match="folds"):
        detection.get("cross-validation", {"folds": 4}).examine(evidence)
