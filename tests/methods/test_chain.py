"""Chains: one method after the other."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from support.projection import (
    TOY,
    same,
)
from support.small import poisoned_task, small_model
from unlearning import methods
from unlearning.errors import InputError
from unlearning.evaluation import accuracy, predict
from unlearning.methods.base import Method, conclude, told_to
from unlearning.methods.chain import Chain
from unlearning.methods.sap import Sap
from unlearning.task import OutcomeStatus, Split, WorkCount

OVERRIDES = {
    **{"sap.alphas": TOY["alphas"], "sap.trusted_count": 60},
    **{"second-order.steps": 2, "second-order.solver": "cg"},  # which logs its iterations
}


class _Prepared(Method):
    """A method that did nothing now and a lot before."""

    def unlearn(self, model, task):
        outcome = conclude(model, None, task, started=0.0, work=WorkCount(), history=[{"step": 0}])
        return dataclasses.replace(outcome, duration_s=0.25, preparation_duration_s=1e-6, preparation_cpu_s=2.0)


def test_a_chain_sums_preparations_and_keeps_them_out_of_its_time() -> None:
    task, _ = poisoned_task(rows=30, flips=3)
    outcome = Chain(stages=(("a", _Prepared()), ("b", _Prepared()))).unlearn(small_model(), task)
    assert outcome.preparation_cpu_s == 4.0 and outcome.preparation_duration_s == pytest.approx(2e-6)
    assert outcome.duration_s > 0


class TestChain:
    def test_is_one_after_the_other(self, poisoned) -> None:
        model, task = poisoned
        before = model.get_weights()
        outcome = methods.get("sap+second-order", OVERRIDES).unlearn(model, task)
        assert same(before, model.get_weights())
        stage = dataclasses.replace(task, is_stage=True)
        first = Sap(**TOY).unlearn(model, stage)
        second = methods.get("second-order", {"steps": 2, "solver": "cg"}).unlearn(first.model, stage)
        assert same(outcome.model.get_weights(), second.model.get_weights())
        asked = 2 * (len(task.validation) + len(task.corrections))
        assert outcome.work == first.work + second.work + WorkCount(forward_rows=asked)
        assert outcome.validation_accuracy_before == first.validation_accuracy_before
        assert outcome.validation_accuracy_after == accuracy(outcome.model, task.validation)
        assert first.acceptance is second.acceptance is None  # the chain is judged, its stages are not
        assert outcome.acceptance.verdict == "improved" and outcome.acceptance.flagged.rows == 60
        assert first.applied and outcome.applied and outcome.status is OutcomeStatus.IMPROVED
        assert len(outcome.solves) == len(second.solves) > 0
        assert [row["step"] for row in outcome.history] == list(range(len(outcome.history)))
        stages = ["sap"] * len(first.history) + ["second-order"] * (len(second.history) - 1)
        assert [row["stage"] for row in outcome.history] == stages
        seconds = [row["seconds"] for row in outcome.history if "seconds" in row]
        assert seconds == sorted(seconds) and seconds[-1] <= outcome.duration_s
        assert {row["stage"] for row in outcome.solver_log} == {"second-order"}
        assert outcome.details["sap"] == first.details
        assert list(outcome.rows) == ["sap.trusted_rows"]
        assert same([outcome.rows["sap.trusted_rows"]], [first.rows["trusted_rows"]])

    def test_nothing_to_gain(self, poisoned) -> None:
        model, task = poisoned
        images = task.validation.images
        perfect = dataclasses.replace(task, validation=Split(images, predict(model, images).argmax(1)))
        outcome = methods.get("sap+second-order", OVERRIDES).unlearn(model, perfect)
        assert not outcome.applied and outcome.status is OutcomeStatus.NOTHING_IMPROVED
        assert same(outcome.model.get_weights(), model.get_weights())
        assert outcome.validation_accuracy_before == outcome.validation_accuracy_after == 1.0

    def test_configuration_nests_by_stage(self) -> None:
        method = methods.get("sap+second-order", {"sap.rounds": "2", "second-order.steps": 4})
        config = method.config()
        assert list(config) == ["sap", "second-order"]
        assert (config["sap"]["rounds"], config["second-order"]["steps"]) == (2, 4)
        assert config["second-order"] == methods.get("second-order", {"steps": 4}).config()
        assert json.loads(json.dumps(config)) == config

    @pytest.mark.parametrize(
        ("name", "overrides", "argument"),
        [
            ("sap+sap", {}, "method"),
            ("sap+second-order+sap", {}, "method"),
            ("sap+", {}, "method"),
            ("+sap", {}, "method"),
            ("sap+nope", {}, "method"),
            ("sap+second-order", {"rounds": 2}, "sap[+]second-order.rounds"),
            ("sap+second-order", {"sap": 2}, "sap[+]second-order.sap"),
            ("sap+second-order", {"first-order.rows": 2}, "sap[+]second-order.first-order.rows"),
            ("sap+second-order", {"sap.steps": 2}, "sap.steps"),
            ("sap+second-order", {"sap.rounds": 0}, "sap.rounds"),
        ],
    )
    def test_bad_chains(self, name: str, overrides: dict[str, Any], argument: str) -> None:
        with pytest.raises(InputError, match=f"`{argument}`"):
            methods.get(name, overrides)


@pytest.mark.parametrize(
    ("name", "overrides", "told"),
    [
        ("fine-tuning", {}, methods.RIGHT_LABELS),
        ("fine-tuning", {"rows": "trusted"}, methods.NOTHING),  # whatever its entry says
        ("ssd", {}, methods.FLAGGED),
        ("sap", {}, methods.NOTHING),
    ],
)
def test_a_stage_is_told_what_its_settings_ask_for(name: str, overrides: dict, told: frozenset[str]) -> None:
    assert told_to(name, methods.get(name, overrides)) == told
