"""Suspects of a task stand for the first detection."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from unlearning import methods
from unlearning.detection.base import Detection, DetectionStatus
from unlearning.errors import InputError
from unlearning.methods.detected import Detected
from unlearning.task import Corrections


class Script:
    """A detector that suspects the first rows, and keeps the models that it was asked about."""

    def __init__(self, labels: np.ndarray) -> None:
        self.labels, self.seen = labels, []

    def detect(self, model, split, num_classes: int, seed: int) -> Detection:
        self.seen.append(model)
        suggested = split.labels.copy()
        suggested[: len(self.labels)] = self.labels
        rows = np.arange(len(self.labels))
        return Detection(np.zeros(len(split)), rows, suggested, None, DetectionStatus.OK)


@pytest.fixture
def script(poisoned, monkeypatch) -> Script:
    found = Script(poisoned[1].corrections.labels)
    monkeypatch.setattr(Detected, "build_detector", lambda self: found)
    return found


@pytest.mark.parametrize("rounds", [1, 2])
def test_the_first_round_takes_the_suspects_of_the_task(rounds: int, script: Script, poisoned) -> None:
    model, task = poisoned
    method = Detected(method=methods.get("first-order"), detector="patches", rounds=rounds)
    flagged, nothing = task.corrections, dataclasses.replace(task, corrections=Corrections.none())
    given = method.unlearn(model, dataclasses.replace(nothing, suspects=flagged))
    assert model not in script.seen and len(script.seen) == rounds - 1
    script.seen.clear()
    detected = method.unlearn(model, nothing)
    assert script.seen[0] is model and len(script.seen) == rounds
    assert given.applied and given.details == detected.details
    for a, b in zip(given.model.get_weights(), detected.model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert detected.work.forward_rows == given.work.forward_rows + len(task.train)


def test_a_task_in_which_nothing_is_suspect_is_not_searched_again(script: Script, poisoned) -> None:
    model, task = poisoned
    method = Detected(method=methods.get("first-order"), detector="patches")
    outcome = method.unlearn(model, dataclasses.replace(task, suspects=Corrections.none()))
    assert not outcome.applied and not script.seen


def test_the_rows_of_the_repair_are_kept(script: Script, poisoned) -> None:
    model, task = poisoned
    method = Detected(method=methods.get("fspmu", {"epochs": 1, "batch_size": 32}), detector="patches")
    assert method.unlearn(model, task).rows["forget_rows"].tolist() == list(range(60))


@pytest.mark.parametrize(
    ("rows", "labels", "name"),
    [([240], [0], "suspects.rows"), ([-1], [0], "suspects.rows"), ([0], [3], "suspects.labels")],
)
def test_suspects_that_do_not_fit_the_task_are_refused(rows: list, labels: list, name: str, poisoned) -> None:
    with pytest.raises(InputError, match=name):
        dataclasses.replace(poisoned[1], suspects=Corrections(np.array(rows), np.array(labels)))
