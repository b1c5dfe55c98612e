"""How the images of a folder were read is part of what an experiment records; what version 0.1 recorded stays good."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from support.images import write_folder
from unlearning.data.settings import ImageReading
from unlearning.errors import InputError
from unlearning.experiments.cell.line import write_configs
from unlearning.experiments.cell.reopening import reopen
from unlearning.experiments.cell.rows import Cell
from unlearning.experiments.cell.settings import RunSettings
from unlearning.experiments.cell.setup import Setup
from unlearning.records import TrainConfig, read_json
from unlearning.repairs.flagged import read_flagged

NEW = ("interpolation", "crop_to_aspect_ratio", "pad_to_aspect_ratio", "color_mode")


@pytest.fixture
def flowers(tmp_path: Path) -> Path:
    folder = write_folder(tmp_path / "flowers", images=8)
    rng = np.random.default_rng(0)
    for path in sorted(folder.glob("*/*.png")):
        Image.fromarray(rng.integers(0, 256, (24, 20), np.uint8)).save(path)
    return folder


def settings(flowers: Path, out: Path, **options) -> RunSettings:
    return RunSettings(
        dataset=str(flowers), model="cnn_small", budgets=(4,), seeds=(1,), image_size=8, output=out, **options
    )


def recorded(setup: Setup) -> dict:
    """What the configuration of the data says, as JSON."""
    return json.loads(setup.train_config(1).model_dump_json())["data"]


def test_other_data_record_nothing_of_it(tmp_path: Path) -> None:
    setup = Setup(RunSettings(budgets=(4,), seeds=(1,), output=tmp_path / "e"))
    assert not set(NEW) & set(recorded(setup))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"interpolation": "bilinear"}),
        ({"interpolation": "pillow"}, {}),
        ({"color_mode": "rgb"}, {"interpolation": "bilinear"}),
        (
            {"color_mode": "grayscale", "crop_to_aspect_ratio": True, "interpolation": "area"},
            {"color_mode": "grayscale", "crop_to_aspect_ratio": True, "interpolation": "area"},
        ),
    ],
)
def test_a_folder_is_read_again_as_it_was(flowers: Path, tmp_path: Path, options: dict, expected: dict) -> None:
    setup = Setup(settings(flowers, tmp_path / "e", **options))
    assert {name: value for name, value in recorded(setup).items() if name in NEW} == expected
    write_configs(setup)
    again = reopen(tmp_path / "e/budget-4/seed-1", dataset=str(flowers)).setup
    assert again.train_config(1) == setup.train_config(1)
    assert again.data_sha256 == setup.data_sha256
    assert dict(ImageReading(**{name: getattr(again.settings, name) for name in NEW}))["interpolation"] == (
        options.get("interpolation", "bilinear")
    )


def test_an_experiment_of_version_01_goes_on_as_it_began(flowers: Path, tmp_path: Path) -> None:
    old = Setup(settings(flowers, tmp_path / "e", interpolation="pillow"))
    write_configs(old)  # byte by byte what version 0.1 wrote
    (config,) = (tmp_path / "e").glob("clean/**/train_config.json")
    assert not set(NEW) & set(json.loads(config.read_text())["data"])
    again = Setup(settings(flowers, tmp_path / "e"))
    assert again.settings.interpolation == "pillow" and again.train_config(1) == old.train_config(1)
    assert again.data_sha256 == old.data_sha256
    elsewhere = Setup(settings(flowers, tmp_path / "new"))
    assert elsewhere.settings.interpolation == "bilinear" and elsewhere.data_sha256 != old.data_sha256
    write_configs(again)
    with pytest.raises(InputError, match="another configuration"):
        write_configs(Setup(settings(flowers, tmp_path / "e", color_mode="grayscale")))


def test_a_name_is_enough_to_find_an_experiment_again(flowers: Path, tmp_path: Path) -> None:
    setup = Setup(settings(flowers, tmp_path / "e"))
    write_configs(setup)
    assert reopen(tmp_path / "e/budget-4/seed-1").train_config == setup.train_config(1)


@pytest.mark.parametrize("name", ["..", ".", "/", "a/../..", "~", "a\\b"])
def test_records_hold_names_that_lead_nowhere(flowers: Path, tmp_path: Path, name: str) -> None:
    write_configs(Setup(settings(flowers, tmp_path / "e")))
    path = tmp_path / "e/budget-4/seed-1/train_config.json"
    content = json.loads(path.read_text())
    content["data"]["dataset"] = name
    path.write_text(json.dumps(content))
    assert read_json(path, TrainConfig).data.dataset == name
    with pytest.raises(InputError, match="not a path"):
        reopen(path.parent)


def test_the_rows_of_a_cell_are_flagged_by_file(flowers: Path, tmp_path: Path) -> None:
    data = Cell(Setup(settings(flowers, tmp_path / "e")), 4, 1).setup.data
    assert data.train_files is not None
    (tmp_path / "f.csv").write_text(f"file,corrected_label\n{data.train_files[3]},1\n")
    assert read_flagged(tmp_path / "f.csv", len(data.train), 3, None, data.train_files).rows.tolist() == [3]
