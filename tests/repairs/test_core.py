"""The in-memory repair: what it takes, what it refuses, and that cells of experiments are repaired by it."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest

from support.small import blobs, fitted, poisoned_task, small_model
from unlearning import detect, methods, repair
from unlearning.errors import InputError
from unlearning.repairs.settings import DetectSettings, take_time
from unlearning.task import Split, UnlearningTask


@pytest.fixture(scope="module")
def poisoned():
    task, _ = poisoned_task()
    return fitted(small_model(hidden=16), task.train), task


def weights(model) -> list[np.ndarray]:
    return [np.array(w) for w in model.get_weights()]


def same(left, right) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(weights(left), weights(right), strict=True))


class TestKnownRows:
    def test_it_is_the_method_on_a_task(self, poisoned) -> None:
        model, task = poisoned
        before = weights(model)
        done = repair(model, task.train, flagged=task.corrections, validation=task.validation, method="second-order")
        plain = methods.get("second-order").unlearn(model, UnlearningTask(*_parts(task), num_classes=3))
        assert same(done.model, plain.model) and done.outcome.applied and done.found is None
        assert all(np.array_equal(a, b) for a, b in zip(before, weights(model), strict=True)), "never changed"
        assert done.cpu_s > 0 and done.corrections is task.corrections
        told = str(done).splitlines()
        assert told[0] == "improved" and any(line.startswith("validation: ") for line in told)
        assert any(line.startswith("moved ") for line in told) and told[-1].startswith("cost: ")

    def test_arrays_do_for_splits(self, poisoned) -> None:
        model, task = poisoned
        train, validation = ((part.images, part.labels) for part in (task.train, task.validation))
        arrays = repair(model, train, flagged=task.corrections, validation=validation, method="first-order")
        splits = repair(
            model, task.train, flagged=task.corrections, validation=task.validation, method=methods.get("first-order")
        )
        assert same(arrays.model, splits.model)


class TestWithoutAMethod:
    def test_it_chooses_and_without_flagged_rows_it_detects(self, poisoned) -> None:
        model, task = poisoned
        known = repair(model, task.train, flagged=task.corrections, validation=task.validation, time_budget=60)
        assert known.outcome.applied and known.found is None
        assert known.outcome.details["auto"]["time_limit_s"] == 60
        vectors = keras.Sequential([keras.Input((36,)), keras.layers.Reshape((6, 6, 1)), *model.layers])
        flat, seen = (Split(part.images.reshape(-1, 36), part.labels) for part in (task.train, task.validation))
        found = repair(vectors, flat, validation=seen, time_budget="300 passes")
        assert found.found is not None and found.found.record.detector == "neighbours"
        assert found.outcome.details["auto"]["flagged"] > 0

    @pytest.mark.parametrize(
        ("text", "taken"),
        [
            (90, {"seconds": 90}),
            ("90", {"seconds": 90}),
            ("1.5 s", {"seconds": 1.5}),
            ("3 passes", {"passes": 3}),
            ("1 pass", {"passes": 1}),
            ("2e1 seconds", {"seconds": 20}),
        ],
    )
    def test_time_is_seconds_or_passes(self, text, taken: dict) -> None:
        assert take_time(text) == taken

    @pytest.mark.parametrize("text", ["", "soon", "-3", 0, "inf", "nan", "3 hours", "passes", True])
    def test_other_times_are_refused(self, text) -> None:
        with pytest.raises(InputError, match="3 passes"):
            take_time(text)

    def test_time_for_a_method_that_takes_none_is_refused(self, poisoned) -> None:
        model, task = poisoned
        with pytest.raises(InputError, match="passes"):
            repair(model, task.train, flagged=task.corrections, method="second-order", time_budget="3 passes")


class TestDetectedRows:
    def test_detecting_before_or_inside_is_the_same(self, poisoned) -> None:
        model, task = poisoned
        how = DetectSettings(detector="neighbours", options={"neighbours": 10})
        data = {"validation": task.validation, "method": "first-order"}
        inside = repair(model, task.train, detect=how, **data)
        found = detect(model, task.train, detector=how.build(), name="neighbours")
        before = repair(model, task.train, detect=how, found=found, **data)
        assert same(inside.model, before.model)
        assert inside.found is not None and inside.found.record.detector == "neighbours"
        assert inside.corrections.rows.tolist() == found.suspected.rows.tolist()
        assert before.outcome.details["detection"]["status"] == found.record.status

    def test_detection_is_part_of_the_time(self, poisoned) -> None:
        """Whether it ran now or was found on disk: a repair costs what led to it."""
        model, task = poisoned
        how = DetectSettings(detector="neighbours", options={"neighbours": 10})
        data = {"validation": task.validation, "method": "first-order", "detect": how}
        found = detect(model, task.train, detector=how.build(), name="neighbours")
        times = {"detection_duration_s": 5000.0, "detection_cpu_s": 3000.0}
        slow = dataclasses.replace(found, record=found.record.model_copy(update=times))
        done = repair(model, task.train, found=slow, **data)
        assert 5000 < done.outcome.duration_s < 6000 and 3000 < done.cpu_s < 4000
        assert done.outcome.details["detection"]["detection_cpu_s"] == 3000
        inside = repair(model, task.train, **data)
        assert inside.found is not None and inside.outcome.duration_s > inside.found.record.detection_duration_s

    def test_a_name_is_enough(self, poisoned) -> None:
        model, task = poisoned
        done = repair(model, task.train, detect="neighbours", validation=task.validation, method="first-order")
        assert done.found is not None and len(done.corrections) == done.found.record.suspects

    def test_taking_suspects_out(self, poisoned) -> None:
        model, task = poisoned
        how = DetectSettings(detector="neighbours", suspects="remove")
        done = repair(model, task.train, detect=how, validation=task.validation, method="first-order")
        assert (done.corrections.labels == -1).all()


class TestMistakes:
    @pytest.mark.parametrize(
        ("options", "match"),
        [
            ({"method": "second-order"}, "needs flagged rows"),
            ({"detect": "neighbours", "eyes": "own"}, "a detector that looks with them, such as pretrained"),
            ({"method": 3}, "one of auto, first-order"),
            ({"detect": 3}, "a detector of a registered kind, or one of loss-mixture"),
            ({"method": "sap", "validation": blobs(9).images}, r"`validation`.*a tuple \(images, labels\)"),
            ({"method": methods.get("sap"), "options": {"rounds": 2}}, "none beside a method"),
            ({"method": "sap", "options": {"no_such": 2}}, "one of the settings"),
            ({"method": "no-such"}, "one of auto, first-order"),
            ({"detect": "no-such"}, "one of loss-mixture"),
            ({"method": "sap", "validation": (np.empty((0, 6, 6, 1)), np.empty(0, int))}, "at least one row"),
        ],
    )
    def test_each_is_one_clear_error(self, poisoned, options: dict, match: str) -> None:
        model, _ = poisoned
        with pytest.raises(InputError, match=match):
            repair(model, blobs(30), **{"validation": blobs(20), **options})


def _parts(task: UnlearningTask) -> tuple:
    return task.train, task.corrections, task.validation
