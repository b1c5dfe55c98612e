"""What a power cut or a broken disk makes of a cell's records: they count as missing, and are made again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from support.trees import contents
from unlearning.errors import InputError
from unlearning.experiments.cell.line import run_grid
from unlearning.experiments.cell.rows import Cell
from unlearning.experiments.cell.settings import MethodChoice, RunSettings
from unlearning.experiments.cell.setup import Setup
from unlearning.experiments.cell.training import check_trained, find_clean, find_poisoned
from unlearning.experiments.grid.sweep import scan, sweep
from unlearning.repairs.settings import DetectSettings

SETTINGS = RunSettings(
    model="tiny",
    train_rows=100,
    epochs=1,
    batch_size=32,
    budgets=(20,),
    seeds=(1,),
    methods=(MethodChoice(name="first-order"),),
    detect=DetectSettings(detector="loss-ranking", options={"share": 0.2}),
)
CELL = "budget-20/seed-1"
REPAIR = f"{CELL}/first-order-detected-loss-ranking"


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("damaged") / "e"
    run_grid(Setup(SETTINGS.changed(output=folder)))
    return folder


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("clean/seed-1/train_results.json", b""),
        (f"{CELL}/train_config.json", bytes(300)),
        (f"{CELL}/poison_config.json", b"[]"),
        (f"{CELL}/train_results.json", b'{"schema_version": 1, "acc'),
        (f"{REPAIR}/unlearn_config.json", b"\xff\xfe"),
        (f"{REPAIR}/unlearning_results.json", b"{}"),
    ],
)
def test_looking_finds_nothing_and_changes_nothing(name: str, content: bytes, finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "e"
    shutil.copytree(finished, folder)
    (folder / name).write_bytes(content)
    setup = Setup(SETTINGS.changed(output=folder))
    (state,) = scan(setup).values()
    assert state.done == name.endswith("config.json")
    assert (folder / name).read_bytes() == content and not list(folder.rglob("*.damaged"))


def test_a_run_makes_them_again(finished: Path, tmp_path: Path, caplog) -> None:
    folder = tmp_path / "e"
    shutil.copytree(finished, folder)
    names = ["clean/seed-1/train_results.json", f"{CELL}/train_config.json", f"{CELL}/train_results.json"]
    names += [f"{REPAIR}/unlearning_results.json", f"{CELL}/detect-loss-ranking/detection_results.json"]
    for name in names:
        (folder / name).write_bytes(b"")
    (folder / CELL / "detect-loss-ranking/suspects.csv").write_text("row\nx\n")
    assert not sweep(Setup(SETTINGS.changed(output=folder))).failed
    moved = [record.message for record in caplog.records if "is damaged; it is now" in record.message]
    assert len(moved) == len(names) and all(any(str(folder / name) in text for text in moved) for name in names)
    for path in folder.rglob("*.damaged"):
        path.unlink()
    assert contents(folder) == contents(finished)


def test_suspects_alone(finished: Path, tmp_path: Path, caplog) -> None:
    folder = tmp_path / "e"
    shutil.copytree(finished, folder)
    shutil.rmtree(folder / REPAIR)
    (folder / CELL / "detect-loss-ranking/suspects.csv").write_bytes(bytes(100))
    assert not sweep(Setup(SETTINGS.changed(output=folder))).failed
    assert "Detecting again" in caplog.text and contents(folder) == contents(finished)


def test_what_another_version_wrote_is_refused(finished: Path, tmp_path: Path) -> None:
    """It is whole: nothing of it may be replaced."""
    folder = tmp_path / "e"
    shutil.copytree(finished, folder)
    setup = Setup(SETTINGS.changed(output=folder))
    path = folder / "clean/seed-1/train_results.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "a_field_of_tomorrow": 1}))
    with pytest.raises(InputError, match="a_field_of_tomorrow"):
        find_clean(setup, 1)


def test_where_nothing_is_made_again_the_damage_is_named(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "e"
    shutil.copytree(finished, folder)
    (folder / CELL / "train_results.json").write_text("{")
    cell = Cell(Setup(SETTINGS.changed(output=folder)), 20, 1)
    assert find_poisoned(cell) is None
    with pytest.raises(InputError, match=r"train_results\.json is not valid JSON"):
        check_trained(cell)
