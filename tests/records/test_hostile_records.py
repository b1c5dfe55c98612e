"""Damaged and malicious JSON: one clear line, or a record that can be hashed and written again."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.hostile import FUZZ, MEGABYTE, bounded, refused, refused_command
from support.paths import FIXTURES
from unlearning.errors import InputError
from unlearning.records import (
    KINDS,
    PoisonConfig,
    Record,
    TrainConfig,
    UnlearnConfig,
    config_hash,
    read_json,
    write_json,
)
from unlearning.repairs.flagged import read_flagged
from unlearning.strict_json import parse_json

RECORDS = {
    name: json.loads(next((FIXTURES / "of-every-kind/experiment").rglob(f"{name}.json")).read_text())
    for name in ("train_config", "train_results", "poison_config", "unlearn_config", "unlearning_results")
}
JSON_VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**70), 2**70),
        st.floats(),
        st.text(max_size=10),
        st.sampled_from(["", "../../x", "\x1b[2J", "9" * 400, "nan", "sha"]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
    max_leaves=12,
)


def check_readable(path: Path, name: str) -> None:
    """Whatever a file holds, it gives a record that can be hashed and written again, or `InputError`."""
    kind = KINDS[name]
    try:
        record = read_json(path, kind)
    except InputError as error:
        assert len(str(error)) < 1000
        return
    if isinstance(record, Record):
        config_hash(record)
    again = path.with_name("again.json")
    write_json(again, record)
    assert read_json(again, kind) == record


class TestRecords:
    @pytest.mark.parametrize(
        ("text", "match"),
        [
            ("NaN", "not a number in JSON"),
            ('{"seed": Infinity}', "not a number in JSON"),
            ('{"seed": 1, "seed": 2}', "twice"),
            ('{"seed": 1e999}', "too large"),
            ('{"seed": ' + "9" * 30 + "}", "64 bits"),
            ('{"seed": -' + "9" * 10_000 + "}", "64 bits"),
            ("[" * 70 + "]" * 70, "deeper"),
            ('{"a":' * 5000 + "1" + "}" * 5000, "deeper"),
            ("[" * 10**6, "deeper|valid JSON"),
            ("[" + "0," * 600_000 + "0]", "more than"),
            ('{"noise": "\\u001b[2J"}', "control character"),
            ('{"\\ud800": 1}', "surrogate"),
            ("{" + ",".join(f'"k{i}": 1' for i in range(50_000)) + "}", "PoisonConfig"),
            (json.dumps({"x" * MEGABYTE: 1}), "PoisonConfig"),
        ],
    )
    def test_absurd_json(self, tmp_path: Path, text: str, match: str) -> None:
        path = tmp_path / "poison_config.json"
        path.write_text(text)
        with bounded(300):
            refused(lambda: read_json(path, PoisonConfig), match)

    def test_a_hundred_megabytes(self, tmp_path: Path) -> None:
        folder = tmp_path / "budget-1/seed-1/sap"
        folder.mkdir(parents=True)
        path = folder / "unlearning_results.json"
        with path.open("wb") as file:
            file.truncate(100 * MEGABYTE)
        with bounded(20):
            refused(lambda: read_json(path, PoisonConfig), "at most")
        for command in ("show", "compare"):
            refused_command([command, tmp_path], tmp_path, "at most")
        refused_command(["export", tmp_path, "--out", tmp_path / "r.csv"], tmp_path, "at most")

    def test_what_is_no_ordinary_file(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        (tmp_path / "zero").symlink_to("/dev/zero")
        for name in ("pipe", "zero", "."):
            refused(lambda name=name: read_json(tmp_path / name, PoisonConfig), "existing file")
            refused(lambda name=name: read_flagged(tmp_path / name, 10, 3), "existing CSV")

    def test_a_hostile_configuration_of_a_cell(self, tmp_path: Path) -> None:
        cell = tmp_path / "budget-5" / "seed-1"
        cell.mkdir(parents=True)
        (cell / "poison_config.json").write_text(json.dumps(RECORDS["poison_config"]))
        config = RECORDS["train_config"]
        for change in (
            {"epochs": 0},
            {"batch_size": -1},
            {"model": "../../x"},
            {"data": {**config["data"], "dataset": "../../x.npz"}},
            {"data": {**config["data"], "dataset": "/etc"}},
            {"objective": "__import__"},
        ):
            (cell / "train_config.json").write_text(json.dumps({**config, **change}))
            refused_command(["unlearn", "second-order", cell, "--quiet"], tmp_path)

    @FUZZ
    @given(content=st.binary(max_size=200))
    def test_any_bytes(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "r.json").write_bytes(content)
        check_readable(tmp_path / "r.json", "poison_config")

    @FUZZ
    @given(name=st.sampled_from(sorted(RECORDS)), data=st.data())
    def test_any_value_in_any_field(self, tmp_path: Path, name: str, data: st.DataObject) -> None:
        content = dict(RECORDS[name])
        for _ in range(data.draw(st.integers(1, 3))):
            content[data.draw(st.sampled_from([*content, "surprise"]))] = data.draw(JSON_VALUES)
        (tmp_path / "r.json").write_text(json.dumps(content), encoding="utf-8")
        check_readable(tmp_path / "r.json", name)

    @FUZZ
    @given(value=JSON_VALUES)
    def test_what_is_taken_is_plain(self, value: object) -> None:
        try:
            parsed = parse_json(json.dumps(value))
        except ValueError:
            return
        json.dumps(parsed, allow_nan=False, ensure_ascii=False).encode()

    @pytest.mark.parametrize("kind", [TrainConfig, UnlearnConfig])
    def test_another_kind_of_record(self, tmp_path: Path, kind: type) -> None:
        (tmp_path / "r.json").write_text(json.dumps(RECORDS["poison_config"]))
        refused(lambda: read_json(tmp_path / "r.json", kind), "not a valid")
