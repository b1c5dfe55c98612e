"""Every record below `models/` stays good: it loads, and hashes to what was recorded when it was made."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.paths import MODELS
from unlearning.experiments.cell import folder as layout
from unlearning.experiments.results.validate import validate_folders
from unlearning.records import (
    KINDS,
    DetectConfig,
    DetectionResults,
    PoisonConfig,
    Record,
    TrainConfig,
    TrainResults,
    UnlearnConfig,
    UnlearningResults,
    config_hash,
    parse_record,
    read_json,
    read_raw,
)


def committed(name: str) -> list[Path]:
    return sorted(MODELS.rglob(name))


def above(cell: Path) -> list[Record]:
    """The configurations of a cell's poisoned model."""
    return [read_json(cell / "train_config.json", TrainConfig), read_json(cell / "poison_config.json", PoisonConfig)]


def test_all_load() -> None:
    paths = committed("*.json")
    assert len(paths) > 300
    for path in paths:
        content = read_raw(path)
        kind = KINDS.get(path.stem, DetectionResults)
        record = parse_record(path, content, kind)
        written = record.model_dump(mode="json", by_alias=True)
        assert {key: written[key] for key in content} == content or kind is UnlearningResults
        assert not set(content) - set(written)


def test_all_validate() -> None:
    report = validate_folders([MODELS])
    assert report.problems == [] and report.records == len(committed("*.json"))


def test_trainings_hash_as_recorded() -> None:
    paths = committed("train_results.json")
    assert len(paths) > 40
    for path in paths:
        configs: list[Record] = [read_json(path.with_name("train_config.json"), TrainConfig)]
        if path.with_name("poison_config.json").is_file():
            configs = above(path.parent)
        assert config_hash(*configs) == read_json(path, TrainResults).config_hash, path


def test_repairs_hash_as_recorded() -> None:
    paths = committed("unlearning_results.json")
    assert len(paths) > 100
    for path in paths:
        experiment, _, seed = layout.parse_cell(path.parent.parent)
        clean = read_json(layout.clean_of(experiment, seed).config, TrainConfig)
        config = read_json(path.with_name("unlearn_config.json"), UnlearnConfig)
        results = read_json(path, UnlearningResults)
        assert results.config == config
        assert config_hash(clean, *above(path.parent.parent), config) == results.config_hash, path


def test_detections_hash_as_recorded() -> None:
    paths = committed("detection_results.json")
    if not paths:
        pytest.fail("no committed detections")
    for path in paths:
        results = read_json(path, DetectionResults)
        made_by = DetectConfig(detector=results.detector, options=results.options)
        assert config_hash(*above(path.parent.parent), made_by) == results.config_hash, path
