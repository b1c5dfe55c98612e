"""What tables say of a recorded repair: what it is called today, and what it was told."""

from __future__ import annotations

from typing import Annotated, Any

import pytest

from unlearning import methods
from unlearning.methods.base import Method
from unlearning.methods.described import complete, information, label
from unlearning.repairs.settings import DetectSettings
from unlearning.settings import Positive, since
from unlearning.task import UnlearningOutcome

OLD = {"rows": "corrected", "epochs": 2, "learning_rates": [0.001], "batch_size": 128, "augment": False}
"""Of version 0.1, in which the learning rate was constant."""


def recorded(name: str, overrides: dict[str, Any] | None = None) -> dict[str, Any]:
    return methods.get(name, overrides).config()


class TestLabel:
    def test_a_record_of_version_0_1_says_what_it_did(self) -> None:
        assert label("fine-tuning", "fine-tuning", OLD) == "fine-tuning (constant)"
        assert label("fine-tuning-equal-time", "fine-tuning", OLD) == "fine-tuning-equal-time (constant)"
        chain = {"sap": recorded("sap"), "fine-tuning": OLD}
        assert label("sap+fine-tuning", "sap+fine-tuning", chain) == "sap+fine-tuning (constant)"
        detected = {"method": OLD, "detector": {"name": "patches"}, "suspects": "relabel", "rounds": 1}
        assert label("fine-tuning-detected", "fine-tuning", detected) == "fine-tuning-detected (constant)"

    def test_settings_that_are_as_before_together_are_called_by_the_first(self) -> None:
        old = {"pred": "known", "preset": "original", "epochs": 3, "batch_norm_rows": 2048}
        assert label("fspmu-short", "fspmu", old) == "fspmu-short (milestones)"
        assert label("fspmu-gmm-short", "fspmu-gmm", old | {"pred": "gmm"}) == "fspmu-gmm-short"
        assert label("fspmu", "fspmu", recorded("fspmu", {"schedule": "milestones"})) == "fspmu"

    @pytest.mark.parametrize("name", methods.available())
    def test_what_is_recorded_today_is_called_as_it_is_named(self, name: str) -> None:
        assert label(name, name, recorded(name)) == name

    def test_what_the_registry_does_not_know_keeps_its_name(self) -> None:
        assert label("hope-2", "hope", {"rows": 1}) == "hope-2" and label("a+b", "a+b", {}) == "a+b"

    def test_an_override_is_not_taken_for_what_the_name_means(self) -> None:
        assert label("fine-tuning", "fine-tuning", recorded("fine-tuning", {"schedule": "constant"})).endswith(")")


def test_what_was_left_out_is_filled_in() -> None:
    assert complete("fine-tuning", OLD)["schedule"] == "constant" and complete("hope", {"a": 1}) == {"a": 1}
    chain = complete("sap+fine-tuning", {"sap": {"rounds": 2}, "fine-tuning": OLD})
    assert chain["sap"] == {"rounds": 2} and chain["fine-tuning"]["batch_norm_rows"] == 0


class TestInformation:
    @pytest.mark.parametrize(
        ("told", "names"),
        [
            ("right labels", "first-order second-order-lissa retraining sharding fine-tuning fspmu-corrected"),
            ("bad rows", "fspmu fspmu-reference scrub ssd retraining-unflagged"),
            ("nothing", "sap fspmu-gmm fspmu-memorised fine-tuning-trusted annealing"),
        ],
    )
    def test_of_methods_as_registered(self, told: str, names: str) -> None:
        assert {information(name, recorded(name)) for name in names.split()} == {told}

    @pytest.mark.parametrize(
        ("name", "overrides", "told"),
        [
            ("fine-tuning", {"rows": "unflagged"}, "bad rows"),
            ("annealing", {"rows": "corrected"}, "right labels"),
            ("retraining", {"rows": "unflagged"}, "bad rows"),
            ("fspmu", {"pred": "neighbours"}, "nothing"),
            ("fspmu", {"rows": "corrected"}, "right labels"),
            ("fspmu-gmm", {"pred": "known"}, "bad rows"),
            ("sap+fspmu", {}, "bad rows"),
            ("sap+second-order", {}, "right labels"),
            ("sap+fspmu", {"fspmu.pred": "gmm"}, "nothing"),
        ],
    )
    def test_of_what_hyperparameters_make_of_them(self, name: str, overrides: dict[str, Any], told: str) -> None:
        assert information(name, recorded(name, overrides)) == told

    def test_a_detector_is_told_nothing(self) -> None:
        found = DetectSettings(detector="patches").apply(methods.get("second-order"))
        assert information("second-order", found.config()) == "nothing"

    def test_of_older_newer_and_unknown_records(self) -> None:
        assert information("fine-tuning", OLD) == "right labels"
        assert information("fine-tuning", OLD | {"rows": "unflagged"}) == "bad rows"
        assert information("ssd", {"something": "of a later version"}) == "bad rows"
        assert information("hope", {}) == information("sap+hope", {}) == "unknown"


class Magic(Method):
    """Of another package."""

    power: Annotated[Positive, since("7", before=1)] = 2
    """How much."""

    def unlearn(self, model, task) -> UnlearningOutcome:
        raise NotImplementedError


class FreeMagic(Magic):
    """The same for those who know nothing."""

    @property
    def needs_flagged(self) -> bool:
        return False


@pytest.mark.parametrize(
    ("method", "needs", "told"),
    [
        (Magic, {"flagged"}, "bad rows"),
        (Magic, {"flagged", "corrected"}, "right labels"),
        (Magic, {"flagged", "wand"}, "bad rows"),
        (FreeMagic, (), "nothing"),
        (Magic, (), "right labels"),  # an entry point says nothing: no less is claimed than the method may read
    ],
)
def test_strangers_are_described_by_their_entry(method: type[Method], needs: Any, told: str) -> None:
    methods.register("magic", method, needs=needs)
    try:
        assert information("magic", {}) == told and label("magic-x", "magic", {}) == "magic-x (power 1)"
    finally:
        methods.METHODS.remove("magic")
