"""Row lists: beside the record, bound by it, and found in the records of the first version, too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.paths import FIXTURES
from unlearning.errors import InputError
from unlearning.records import UnlearningResults, parse_record, read_json, read_raw, read_rows, write_json, write_rows

LISTS = {"trusted_rows": np.array([5, 1, 70_000_000_000]), "sap.forget_rows": np.array([], dtype=np.int64)}


def record(**changes: Any) -> UnlearningResults:
    path = next(FIXTURES.rglob("first-order/unlearning_results.json"))
    return parse_record(path, read_raw(path) | changes, UnlearningResults)


def test_lists_come_back_as_written(tmp_path: Path) -> None:
    lists = write_rows(tmp_path / "rows.npz", LISTS)
    write_json(tmp_path / "r.json", record().changed(rows=lists))
    results = read_json(tmp_path / "r.json", UnlearningResults)
    assert {name: entry.count for name, entry in results.rows.items()} == {"trusted_rows": 3, "sap.forget_rows": 0}
    read = read_rows(tmp_path / "rows.npz", results)
    assert set(read) == set(LISTS)
    for name, rows in LISTS.items():
        assert read[name].dtype == np.int64
        np.testing.assert_array_equal(read[name], rows)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.json", "rows.npz"]


def test_a_record_without_lists_does_not_mention_them() -> None:
    assert "rows" not in record().model_dump()
    assert read_rows(Path("nowhere.npz"), record()) == {}


@pytest.mark.parametrize(
    ("stored", "match"),
    [
        ({"trusted_rows": LISTS["trusted_rows"]}, "the record names"),
        (LISTS | {"more": LISTS["trusted_rows"]}, "the record names"),
        (LISTS | {"trusted_rows": np.array([1, 5, 70_000_000_000])}, "other trusted_rows"),
        (LISTS | {"trusted_rows": LISTS["trusted_rows"].astype(float)}, "other trusted_rows"),
        (LISTS | {"trusted_rows": LISTS["trusted_rows"][:, None]}, "other trusted_rows"),
    ],
)
def test_other_lists_are_refused(tmp_path: Path, stored: dict[str, np.ndarray], match: str) -> None:
    results = record().changed(rows=write_rows(tmp_path / "rows.npz", LISTS))
    np.savez(tmp_path / "rows.npz", **stored)
    with pytest.raises(InputError, match=match):
        read_rows(tmp_path / "rows.npz", results)


def test_missing_and_damaged_files_are_refused(tmp_path: Path) -> None:
    results = record().changed(rows=write_rows(tmp_path / "rows.npz", LISTS))
    (tmp_path / "rows.npz").write_bytes(b"PK\x03\x04 broken")
    with pytest.raises(InputError, match=r"rows\.npz"):
        read_rows(tmp_path / "rows.npz", results)
    (tmp_path / "rows.npz").unlink()
    with pytest.raises(InputError, match=r"existing \.npz"):
        read_rows(tmp_path / "rows.npz", results)


def test_records_of_the_first_version_hold_their_lists() -> None:
    names = set()
    for path in FIXTURES.rglob("unlearning_results.json"):
        results = read_json(path, UnlearningResults)
        names |= set(read_rows(path.with_name("rows.npz"), results))
    assert {"trusted_rows", "forget_rows"} <= names and any("." in name for name in names)


def test_lists_that_are_none_are_refused() -> None:
    with pytest.raises(InputError, match="no row numbers"):
        read_rows(Path("x/rows.npz"), record(details={"forget_rows": [1, "2"]}))
