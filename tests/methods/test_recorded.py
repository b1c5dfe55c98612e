"""Hyperparameters that were recorded build the same method today, to the last digit of their JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from support.paths import ROOT, kept
from unlearning import detection, methods
from unlearning.methods.base import Method
from unlearning.methods.detected import Detected
from unlearning.settings import fill_older

RECORDS = kept("unlearn_config.json")


def rebuild(name: str, recorded: dict[str, Any]) -> Method:
    if isinstance(recorded.get("detector"), dict):
        options = {**recorded["detector"]}
        detector = options.pop("name")
        return Detected(
            method=rebuild(name, recorded["method"]),
            detector=detector,
            options=detection.complete(detector, options),
            suspects=recorded["suspects"],
            rounds=recorded["rounds"],
        )
    if "+" in name:
        recorded = {f"{stage}.{field}": value for stage, part in recorded.items() for field, value in part.items()}
        return methods.get(name, recorded)
    return methods.get(name, fill_older(methods.METHODS.load(name), recorded))


def test_there_are_records_of_most_methods() -> None:
    assert len(RECORDS) > 100 and len({json.loads(path.read_text())["method"] for path in RECORDS}) > 10


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: str(path.parent.relative_to(ROOT)))
def test_rebuilt_from_its_record(path: Path) -> None:
    record = json.loads(path.read_text())
    there = record["hyperparameters"]
    assert json.dumps(rebuild(record["method"], there).config(), sort_keys=True) == json.dumps(there, sort_keys=True)
