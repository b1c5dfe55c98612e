"""Detectors on rows few enough to be ranked by hand."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from support.small import blobs, small_model
from unlearning import detection
from unlearning.detection.base import Detection, DetectionStatus
from unlearning.detection.detectors import combination, early_stopped
from unlearning.detection.detectors.patch_ridge import PatchRidge
from unlearning.errors import InputError
from unlearning.task import Split

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
    shared = combination.Combination(members=tuple(answers), cut="share", share=0.6).examine(evidence)
    assert sorted(shared.suspects) == [0, 1, 2]
    assert [member["suspects"] for member in found.details["members"].values()] == [1, 2, 3]


def test_folds_are_no_more_than_the_rows_of_the_largest_class() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 3)
    evidence = SimpleNamespace(labels=labels, features=rng.normal(size=(6, 2)), num_classes=2, seed=0)
    found = detection.get("cross-validation", {"folds": 3, "cut": "share"}).examine(evidence)
    assert found.details["out_of_sample"] is True and found.details["folds"] == 3
    with pytest.raises(InputError, match="folds"):
        detection.get("cross-validation", {"folds": 4}).examine(evidence)


@pytest.mark.parametrize("members", [(), ("loss-mixture", "loss-mixture"), ("combination",), ("no-such-detector",)])
def test_a_combination_is_of_different_detectors_that_there_are(members: tuple[str, ...]) -> None:
    with pytest.raises(InputError):
        combination.Combination(members=members)


def test_a_mixture_of_losses_says_that_the_model_has_seen_the_rows() -> None:
    assert detection.get("loss-mixture").examine(EVIDENCE).details["out_of_sample"] is False


@pytest.mark.parametrize(("issues", "status"), [([1, 4], DetectionStatus.OK), ([], DetectionStatus.NOTHING_SUSPECT)])
@pytest.mark.parametrize("out_of_sample", [False, True])
def test_confident_learning_turns_quality_round(issues, status, out_of_sample: bool, monkeypatch) -> None:
    """What cleanlab answers is set here, so that its part is tested where it is not installed."""
    asked = []

    def find_label_issues(labels, probabilities, *, n_jobs: int, **_):
        assert n_jobs == 1  # it would fork
        asked.append(probabilities)
        return np.isin(np.arange(5), issues)

    quality = lambda labels, probabilities, **_: probabilities[:, 0]  # noqa: E731
    monkeypatch.setitem(sys.modules, "cleanlab", ModuleType("cleanlab"))
    for name, content in (
        ("filter", {"find_label_issues": find_label_issues}),
        ("rank", {"get_label_quality_scores": quality}),
    ):
        part = ModuleType(f"cleanlab.{name}")
        vars(part).update(content)
        monkeypatch.setitem(sys.modules, f"cleanlab.{name}", part)
    unseen = 1 - PROBABILITIES
    detector = detection.get("confident-learning", {"out_of_sample": out_of_sample})
    monkeypatch.setattr(type(detector), "judge_unseen", lambda *_: unseen)
    found = detector.examine(EVIDENCE)
    expected = unseen if out_of_sample else PROBABILITIES
    np.testing.assert_array_equal(asked[0], expected)
    np.testing.assert_allclose(found.scores, 1 - expected[:, 0])
    assert found.suspects.tolist() == issues and found.status is status


@pytest.mark.parametrize(("mirrored", "helps"), [([1, 1, 1, 0], True), ([1, 1, 0, 0], False)])
def test_images_are_mirrored_where_more_labels_are_predicted_so(mirrored: list[int], helps: bool, monkeypatch) -> None:
    answers = iter([[0, 0, 1, 1], mirrored])  # plain first; both against four labels of one
    predicted = lambda *_: SimpleNamespace(predictions=np.eye(2)[next(answers)])  # noqa: E731
    monkeypatch.setattr(PatchRidge, "_ridge", predicted)
    labels = np.ones(4, np.int64)
    evidence = SimpleNamespace(labels=labels, split=Split(np.zeros((4, 1, 1, 1)), labels), num_classes=2, seed=0)

    class Bank:
        def __call__(self, images: np.ndarray) -> np.ndarray:
            return images

        mirrored = __call__

    assert PatchRidge()._mirror(Bank(), evidence) is helps


@pytest.mark.parametrize(("average", "expected"), [(True, [0.5, 0.5]), (False, [0.1, 0.9])])
def test_a_probe_means_its_epochs_or_takes_the_last(average: bool, expected: list[float], monkeypatch) -> None:
    told = iter([[0.8, 0.2], [0.6, 0.4], [0.1, 0.9]][0 if average else 2 :])
    monkeypatch.setattr(
        early_stopped.feeding, "fit", lambda *_, epochs, **__: SimpleNamespace(history={"loss": [epochs]})
    )
    monkeypatch.setattr(early_stopped, "predict_probabilities", lambda *_: np.tile(next(told), (8, 1)))
    split = blobs(8)
    evidence = SimpleNamespace(model=small_model(), split=split, labels=split.labels, num_classes=2, seed=0)
    monkeypatch.setattr(early_stopped, "gives_probabilities", lambda *_: False)
    found, details = early_stopped.EarlyStoppedProbe(epochs=3, average=average).probabilities(evidence)
    np.testing.assert_allclose(found, np.tile(expected, (8, 1)))
    epochs = [1, 2, 3] if average else [3]
    assert [(row["epoch"], row["loss"]) for row in details["epochs"]] == [(epoch, epoch) for epoch in epochs]
