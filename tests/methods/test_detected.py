"""Repairs whose flagged rows are detected."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest

from support.small import fitted, poisoned_task, small_model
from unlearning import methods
from unlearning.detection.base import Detection, DetectionStatus
from unlearning.errors import InputError
from unlearning.evaluation import accuracy
from unlearning.methods.detected import Detected, suspected_corrections
from unlearning.task import REMOVED, Corrections, OutcomeStatus, UnlearningTask


@dataclasses.dataclass
class Script:
    """A detector that says what it is told, and notes which models it has seen."""

    answers: list[tuple[list[int], list[int]]]
    seen: list = dataclasses.field(default_factory=list)

    def detect(self, model, split, num_classes, seed=0) -> Detection:
        rows, labels = self.answers[len(self.seen)]
        self.seen.append(model)
        suggested = split.labels.copy()
        suggested[rows] = labels
        status = DetectionStatus.OK if rows else DetectionStatus.NOTHING_SUSPECT
        return Detection(np.zeros(len(split)), np.array(rows, dtype=np.int64), suggested, None, status)

    def config(self) -> dict:
        return {}


@pytest.fixture
def scripted(monkeypatch):
    def install(*answers: tuple[list[int], list[int]]) -> Script:
        script = Script(list(answers))
        monkeypatch.setattr(Detected, "build_detector", lambda self: script)
        return script

    return install


@pytest.fixture(scope="module")
def planted() -> tuple[keras.Model, UnlearningTask, np.ndarray]:
    task, true = poisoned_task(rows=300, flips=60)
    return fitted(small_model(), task.train, epochs=40), task, true


class TestDetected:
    def test_equals_flagging_the_same_rows(self, planted, scripted) -> None:
        model, task, true = planted
        rows = list(range(60))
        scripted((rows, true[:60].tolist()))
        one = Detected(method=methods.get("first-order"), detector="patches").unlearn(model, task)
        other = methods.get("first-order").unlearn(
            model, dataclasses.replace(task, corrections=Corrections(np.arange(60), true[:60]))
        )
        assert one.applied and one.validation_accuracy_after == other.validation_accuracy_after
        for a, b in zip(one.model.get_weights(), other.model.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
        assert one.details["flagged_by"][0]["suspects"] == 60

    def test_does_not_look_at_the_tasks_corrections(self, planted, scripted) -> None:
        model, task, _ = planted
        scripted(([], []))
        outcome = Detected(method=methods.get("first-order"), detector="patches").unlearn(model, task)
        assert not outcome.applied and outcome.status is OutcomeStatus.NOTHING_FLAGGED

    def test_suspects_are_relabelled_or_removed(self) -> None:
        given = np.array([0, 1, 2, 0])
        suspected = Corrections(np.array([1, 3]), np.array([2, 0]))
        relabelled = suspected_corrections(suspected, given, "relabel")
        assert relabelled.labels.tolist() == [2, REMOVED]  # suggesting the given label corrects nothing
        assert suspected_corrections(suspected, given, "remove").labels.tolist() == [REMOVED, REMOVED]
        assert relabelled.rows.tolist() == [1, 3]

    def test_rounds_look_with_the_repaired_model_and_repair_the_original(self, planted, scripted) -> None:
        model, task, true = planted
        half, rows = list(range(30)), list(range(60))
        script = scripted((half, true[:30].tolist()), (rows, true[:60].tolist()))
        outcome = Detected(method=methods.get("first-order"), detector="patches", rounds=2).unlearn(model, task)
        assert script.seen[0] is model and script.seen[1] is not model
        once = methods.get("first-order").unlearn(
            model, dataclasses.replace(task, corrections=Corrections(np.arange(60), true[:60]))
        )
        scores = [entry["validation_accuracy"] for entry in outcome.details["flagged_by"]]
        assert scores[1] == accuracy(once.model, task.choosing) > scores[0]
        assert outcome.validation_accuracy_after == once.validation_accuracy_after

    def test_bad_options(self) -> None:
        inner = methods.get("first-order")
        for options, message in (
            ({"detector": "oracle"}, "detector"),
            ({"detector": "patches", "options": {"filters": 0}}, "filters"),
            ({"detector": "patches", "suspects": "ignore"}, "suspects"),
            ({"detector": "patches", "rounds": 0}, "rounds"),
        ):
            with pytest.raises(InputError, match=message):
                Detected(method=inner, **options)
