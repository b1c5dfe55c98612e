"""What decided about a repair, in records: from the outcome, to the record, to lines on a terminal."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from support.paths import FIXTURES
from unlearning.acceptance import compare, judge
from unlearning.records import Accepted, UnlearningResults, read_json, write_json
from unlearning.records.contradictions import contradictions
from unlearning.records.schema import schema_of
from unlearning.repairs.outcome import outcome_fields
from unlearning.task import OutcomeStatus, UnlearningOutcome, WorkCount

OLDER = FIXTURES / "of-every-kind/experiment/budget-314/seed-42/sap/unlearning_results.json"


def accepted(rows: int, gained: int, lost: int, flagged: tuple[int, int, int] | None = None) -> Accepted:
    def pair(rows: int, gained: int, lost: int):
        after = np.ones(rows, bool)
        before = after.copy()
        before[:gained], after[rows - lost :] = False, False
        return compare(before, after)

    validation = pair(rows, gained, lost)
    found = judge(validation, validation, None if flagged is None else pair(*flagged))
    status = OutcomeStatus(str(found.verdict))
    outcome = UnlearningOutcome(None, True, status, 0.5, 0.5, (), (), (), WorkCount(), 1.0, acceptance=found)
    return outcome_fields(outcome)["acceptance"]


def test_both_numbers_are_kept() -> None:
    found = accepted(200, 12, 2, (60, 40, 0))
    assert found.verdict == "improved"
    validation = found.validation
    assert (validation.rows, validation.before, validation.after) == (200, 0.94, 0.99)
    assert validation.difference == pytest.approx(0.05) and validation.p_worse > 0.99 > 0.01 > validation.p_better
    assert validation.interval_low < 0.05 < validation.interval_high and found.flagged.rows == 60


@pytest.mark.parametrize(
    ("numbers", "last"),
    [
        ((200, 12, 2, (60, 40, 0)), "flagged rows: 33.3 -> 100.0 % right of 60, +66.7 (95 %: +53.7 to +77.4)"),
        ((200, 12, 2), "validation: 94.0 -> 99.0 % right of 200, +5.0 (95 %: +1.2 to +8.7)"),
        ((200, 3, 2), "Not taken: the gain may be chance; more validation rows could tell."),
        ((200, 2, 12), "Not taken: validation rows got worse."),
        ((5_000_000, 5_000_000, 0, (1_000_000, 1_000_000, 0)), ""),
        ((5_000_000, 0, 5_000_000, (1_000_000, 0, 1_000_000)), ""),
    ],
)
def test_lines_are_readable(numbers: tuple, last: str) -> None:
    lines = accepted(*numbers).lines()
    assert len(lines) <= 3 and all(len(line) <= 80 for line in lines), lines
    assert not last or lines[-1].startswith(last.split("(")[0]), lines


def test_older_records_have_none_and_are_written_without(tmp_path: Path) -> None:
    older = read_json(OLDER, UnlearningResults)
    assert older.acceptance is None and older.status == "improved"
    write_json(tmp_path / "again.json", older)
    assert "acceptance" not in json.loads((tmp_path / "again.json").read_text())
    field = schema_of("unlearning_results")["properties"]["acceptance"]
    assert field["x-since"] == "0.2" and field["default"] is None


def test_a_verdict_that_nobody_followed_is_found(tmp_path: Path) -> None:
    older = read_json(OLDER, UnlearningResults)
    for found, match in ((accepted(200, 12, 2), None), (accepted(200, 3, 2), "not_beyond_chance, but applied is true")):
        record = older.changed(acceptance=found)
        write_json(tmp_path / "r.json", record)
        assert read_json(tmp_path / "r.json", UnlearningResults) == record
        lines = list(contradictions(record))
        assert not lines if match is None else any(match in line for line in lines)
