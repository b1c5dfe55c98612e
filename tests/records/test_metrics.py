"""A measure is named once, at its field; comparisons and the schema follow."""

from __future__ import annotations

from unlearning.experiments.results.compare import METRICS
from unlearning.records import UnlearningResults, metrics
from unlearning.records.schema import schema_of


def test_measures_are_fields_with_a_name_of_their_own() -> None:
    found = metrics()
    assert set(found) <= set(UnlearningResults.model_fields)
    assert len({shown.label for shown in found.values()}) == len(found)


def test_what_is_compared_keeps_its_keys() -> None:
    fields = {name: field for name, (field, _) in METRICS.items()}
    assert fields == {
        "acc_after_fix": "acc_after_fix",
        "acc_perc_restored": "acc_perc_restored",
        "seconds": "unlearning_duration_s",
    }


def test_shares_are_shown_in_per_cent_and_directions_stand_in_the_schema() -> None:
    properties = schema_of("unlearning_results")["properties"]
    for name, shown in metrics().items():
        assert shown.scale == (100.0 if shown.unit == "%" else 1.0) and shown.label in shown.title
        assert properties[name].get("x-better", "") == shown.better
