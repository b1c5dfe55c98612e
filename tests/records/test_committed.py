"""Every record that is kept stays good: it loads, and hashes to what was recorded when it was made."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.paths import KEPT, PUBLISHED, kept
from unlearning.experiments.cell import folder as layout
from unlearning.experiments.results.validate import validate_folders
from unlearning.records import (
    KINDS,
    DetectConfig,
    DetectionResults,
    PoisonConfig,
    Record,
    RepairResults,
    TrainConfig,
    TrainResults,
    UnlearnConfig,
    UnlearningResults,
    config_hash,
    parse_record,
    read_json,
    read_raw,
    read_rows,
)


def above(cell: Path) -> list[Record]:
    """The configurations of a cell's poisoned model."""
    return [read_json(cell / "train_config.json", TrainConfig), read_json(cell / "poison_config.json", PoisonConfig)]


def test_all_load() -> None:
    paths = kept("*.json")
    assert len(paths) > 300
    for path in paths:
        content = read_raw(path)
        kind = KINDS.get(path.stem, RepairResults if "flagged_rows" in content else DetectionResults)
        record = parse_record(path, content, kind)
        written = record.model_dump(mode="json", by_alias=True)
        assert {key: written[key] for key in content} == content or kind is UnlearningResults
        assert not set(content) - set(written)


def test_all_validate() -> None:
    report = validate_folders(KEPT)
    assert report.problems == [] and report.records == len(kept("*.json"))


def test_published_are_small_records_and_logs() -> None:
    files = [path for path in PUBLISHED.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".json", ".csv"}
    assert sum(path.stat().st_size for path in files) < 1.5e6
    records = [path for path in files if path.name == "unlearning_results.json"]
    results = {path: read_json(path, UnlearningResults) for path in records}
    assert any(found.rows for found in results.values())
    for path, found in results.items():
        assert found.rows or not read_rows(path, found), f"{path} holds lists of rows"


def test_trainings_hash_as_recorded() -> None:
    paths = kept("train_results.json")
    assert len(paths) > 40
    for path in paths:
        configs: list[Record] = [read_json(path.with_name("train_config.json"), TrainConfig)]
        if path.with_name("poison_config.json").is_file():
            configs = above(path.parent)
        assert config_hash(*configs) == read_json(path, TrainResults).config_hash, path


def test_repairs_hash_as_recorded() -> None:
    paths = kept("unlearning_results.json")
    assert len(paths) > 100
    for path in paths:
        experiment, _, seed = layout.parse_cell(path.parent.parent)
        clean = read_json(layout.clean_of(experiment, seed).config, TrainConfig)
        config = read_json(path.with_name("unlearn_config.json"), UnlearnConfig)
        results = read_json(path, UnlearningResults)
        assert results.config == config
        assert config_hash(clean, *above(path.parent.parent), config) == results.config_hash, path


def test_detections_hash_as_recorded() -> None:
    paths = kept("detection_results.json")
    if not paths:
        pytest.fail("no detections are kept")
    for path in paths:
        results = read_json(path, DetectionResults)
        made_by = DetectConfig(detector=results.detector, options=results.options)
        assert config_hash(*above(path.parent.parent), made_by) == results.config_hash, path
