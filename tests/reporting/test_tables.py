"""What tables of repairs say."""

from __future__ import annotations

import pytest

from support.paths import FIXTURES
from unlearning.experiments.results.reader import read_folders
from unlearning.records import UnlearningResults
from unlearning.reporting.tables import format_results, tabulate


@pytest.fixture(scope="module")
def results() -> list[UnlearningResults]:
    found = [repair.results for repair in read_folders([FIXTURES]).repairs()]
    return [result for result in found if isinstance(result, UnlearningResults)][:6]


def test_columns_are_the_records_in_percent(results) -> None:
    frame = tabulate(results)
    assert len(frame) == len(results) == 6
    for row, result in zip(frame.to_dict("records"), results, strict=True):
        gained = result.validation_accuracy_after - result.validation_accuracy_before
        assert row["val."] == pytest.approx(100 * gained)
        assert row["after"] == pytest.approx(100 * result.acc_after_fix)
        assert row["before"] == pytest.approx(100 * result.acc_before_fix)
        assert row["restored"] == pytest.approx(100 * result.acc_perc_restored)
        assert row["seconds"] == result.unlearning_duration_s
    assert frame["val."].abs().max() > 1, "points, not shares"


def test_gains_are_printed_with_their_sign(results) -> None:
    better = results[0].model_copy(update={"validation_accuracy_before": 0.5, "validation_accuracy_after": 0.6234})
    worse = results[1].model_copy(update={"validation_accuracy_before": 0.6, "validation_accuracy_after": 0.5})
    text = format_results([better, worse], width=140)
    assert " +12.3 " in text and " -10.0 " in text
