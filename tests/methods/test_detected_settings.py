"""What a repair of detected rows is told, records and passes on to the method inside."""

from __future__ import annotations

import pytest

from unlearning import detection, methods
from unlearning.methods import NOTHING
from unlearning.methods.base import Took
from unlearning.methods.detected import Detected
from unlearning.training.settings import TrainSettings


@pytest.mark.parametrize("inner", ["second-order", "fspmu", "sap"])
def test_the_detector_flags_so_that_nothing_is_needed(inner: str) -> None:
    found = Detected(method=methods.get(inner), detector="patches")
    assert not found.needs_flagged and found.needs == NOTHING
    assert methods.get(inner).needs_flagged == (inner != "sap")


def test_the_record_has_the_method_and_the_whole_detector() -> None:
    found = Detected(method=methods.get("sap"), detector="loss-ranking", options={"share": 0.3}, rounds=2)
    config = found.config()
    assert config["method"] == methods.get("sap").config()
    assert config["detector"] == {"name": "loss-ranking", **detection.get("loss-ranking", {"share": 0.3}).config()}
    assert (config["suspects"], config["rounds"]) == ("relabel", 2) and set(config) == {
        *("method", "detector", "suspects", "rounds")
    }
    assert Detected(method=methods.get("sap"), detector="patches").rounds == 1


def test_recipes_and_durations_are_those_of_the_method_inside() -> None:
    retraining = Detected(method=methods.get("retraining"), detector="patches", rounds=2)
    recipe = TrainSettings(epochs=7)
    adapted = retraining.adapt(recipe)
    assert adapted.method == methods.get("retraining").adapt(recipe) != retraining.method and adapted.rounds == 2
    tuning = methods.get("fine-tuning", {"seconds": "like:retraining"})
    waiting = Detected(method=tuning, detector="patches")
    assert waiting.waits_for() == tuning.waits_for() == ("retraining",) and retraining.waits_for() == ()
    resolved = waiting.resolve({"retraining": Took(12.5, 20.0)})
    assert resolved.method.seconds == 12.5 and resolved.detector == "patches"
