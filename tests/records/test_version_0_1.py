"""What version 0.1 wrote stays good: it loads, validates, hashes as recorded, and its model predicts the same.

The configurations and results are committed results of that version; `repaired` is what its command `repair` made of a
tiny model. `failure.json` and `features.json`, of which no result is committed, were written by its record classes.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from support.paths import FIXTURES
from unlearning.experiments.results.reader import read_folders
from unlearning.experiments.results.validate import validate_folders
from unlearning.interop import load_model
from unlearning.records import KINDS, Record, RepairResults, config_hash, parse_record, read_json, read_raw, read_rows

FOLDER = FIXTURES / "of-every-kind"
FILES = sorted(FOLDER.rglob("*.json"))


def kind_of(path: Path) -> str:
    return "repair_results" if path.stem == "repaired" else path.stem


def test_there_is_one_of_every_kind() -> None:
    assert {kind_of(path) for path in FILES} == set(KINDS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(FOLDER).as_posix())
def test_loads_and_says_the_same(path: Path) -> None:
    """What is written again may name more fields, which are empty, and none has another value."""
    content = read_raw(path)
    record = parse_record(path, content, KINDS[kind_of(path)])
    written = json.loads(json.dumps(record.model_dump(mode="json", by_alias=True)))
    assert {name: written[name] for name in content} == content
    assert all(written[name] is None for name in set(written) - set(content))
    assert parse_record(path, written, KINDS[kind_of(path)]) == record


def test_validates_without_problems() -> None:
    report = validate_folders([FOLDER])
    assert report.problems == [] and report.records == len(FILES)


def test_hashes_as_recorded() -> None:
    (repair,) = read_folders([FOLDER], strict=True).repairs()
    experiment = next(e for e in read_folders([FOLDER], strict=True).experiments if e.label == repair.experiment)
    clean, trained = experiment.clean[repair.seed], repair.training
    assert repair.ours is not None and repair.config is not None
    configs: list[Record | None] = [clean.config, trained.config, trained.poison_config, repair.config]
    known = [config for config in configs if config is not None]
    assert len(known) == 4 and config_hash(*known) == repair.ours.config_hash
    assert config_hash(known[0]) == read_raw(clean.layout.results)["config_hash"]
    assert config_hash(*known[1:3]) == read_raw(trained.layout.results)["config_hash"]


def test_row_lists_are_found_in_the_record() -> None:
    results = read_json(FOLDER / "repaired.json", RepairResults)
    assert read_rows(FOLDER / "repaired-rows.npz", results)["trusted_rows"].dtype == np.int64


def test_the_model_predicts_the_same() -> None:
    with np.load(FIXTURES.with_name("version-0.1-outputs.npz")) as stored:
        images, outputs = stored["images"], stored["outputs"]
    model = load_model(FOLDER / "repaired.keras")
    np.testing.assert_allclose(np.asarray(model(images, training=False)), outputs, rtol=1e-5, atol=1e-6)
