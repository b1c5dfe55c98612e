"""Rows that are image files are told by their paths, too."""

from __future__ import annotations

import csv
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

from support.images import write_folder
from unlearning import detect
from unlearning.data import load_data
from unlearning.detection.base import Detection, DetectionStatus
from unlearning.errors import InputError
from unlearning.repairs.flagged import read_flagged, take_flagged, write_suspects
from unlearning.repairs.paths import detect_file
from unlearning.repairs.taking import check_scale, open_data
from unlearning.task import REMOVED, Split

FILES = np.array(["cat/1.png", "cat/2, or 3.png", 'dog/"a".png', "dog/line\nbreak.png", "dog/\udce9.png"], object)
TRAIN = Split(np.zeros((5, 2, 2, 1), np.float32), np.array([0, 0, 1, 1, 1]))


def read(tmp_path: Path, text: str, files: np.ndarray | None = FILES):
    path = tmp_path / "flagged.csv"
    path.write_text(text)
    return read_flagged(path, 5, 2, TRAIN.labels, files)


class TestTables:
    def test_suspects_name_files_and_are_read_back(self, tmp_path: Path) -> None:
        suggested = 1 - TRAIN.labels
        found = Detection(np.arange(5.0), np.arange(5), suggested, 0.5, DetectionStatus.OK, {})
        write_suspects(tmp_path / "a.csv", TRAIN, found, files=FILES)
        with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
            rows = {int(row["row"]): row["file"] for row in csv.DictReader(file)}
        assert rows == {**dict(enumerate(FILES[:4])), 4: "dog/\\udce9.png"}
        by_row = read_flagged(tmp_path / "a.csv", 5, 2, TRAIN.labels, FILES)
        table = pd.read_csv(tmp_path / "a.csv").drop(columns="row")
        by_file = take_flagged(table, TRAIN, 2, FILES)
        for flagged in (by_row, by_file):
            assert dict(zip(flagged.rows.tolist(), flagged.labels.tolist(), strict=True)) == dict(enumerate(suggested))

    def test_without_files_the_columns_are_as_before(self, tmp_path: Path) -> None:
        found = Detection(np.arange(5.0), np.arange(5), 1 - TRAIN.labels, 0.5, DetectionStatus.OK, {})
        write_suspects(tmp_path / "a.csv", TRAIN, found)
        assert "file" not in (tmp_path / "a.csv").read_text().splitlines()[0]

    def test_rows_by_file(self, tmp_path: Path) -> None:
        flagged = read(tmp_path, 'file,corrected_label\ncat/1.png,1\n./dog/"a".png,\n"cat\\2, or 3.png",1\n')
        assert flagged.rows.tolist() == [0, 2, 1] and flagged.labels.tolist() == [1, REMOVED, 1]

    def test_some_by_row_and_some_by_file(self, tmp_path: Path) -> None:
        flagged = read(tmp_path, 'row,file,corrected_label\n1,,1\n,cat/1.png,1\n2,"dog/""a"".png",0\n')
        assert flagged.rows.tolist() == [1, 0, 2]

    @pytest.mark.parametrize(
        ("text", "match"),
        [
            ("file,corrected_label\ncat/9.png,1\n", r"line 2: the file 'cat/9.png' is no training row.*'cat/1.png'"),
            ("row,file,corrected_label\n1,cat/1.png,1\n", "line 2: training row 1 is the file 'cat/2, or 3.png', not"),
            ("row,file,corrected_label\n,,1\n", "line 2: row"),
            ("file,corrected_label\ncat/1.png,1\ncat/1.png,0\n", "row 0 is flagged twice"),
            ("label,corrected_label\n1,1\n", "lacks the column row"),
        ],
    )
    def test_what_does_not_fit(self, tmp_path: Path, text: str, match: str) -> None:
        with pytest.raises(InputError, match=match):
            read(tmp_path, text)

    def test_a_file_that_is_two_rows(self, tmp_path: Path) -> None:
        twice = FILES[[0, 0, 1, 2, 3]]
        with pytest.raises(InputError, match="2 training rows are the file"):
            read(tmp_path, "file,corrected_label\ncat/1.png,1\n", twice)
        assert read(tmp_path, "row,file,corrected_label\n1,cat/1.png,1\n", twice).rows.tolist() == [1]

    def test_data_that_are_no_files(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="lacks the column row"):
            read(tmp_path, "file,corrected_label\ncat/1.png,1\n", None)
        assert read(tmp_path, "row,file,corrected_label\n1,elsewhere.png,1\n", None).rows.tolist() == [1]


def model_of(shape: tuple[int | None, ...]) -> keras.Model:
    layers = keras.layers
    body = [layers.GlobalAveragePooling2D()] if None in shape else [layers.Flatten()]
    return keras.Sequential([keras.Input(shape), layers.Rescaling(1 / 255), *body, layers.Dense(3, name="logits")])


class TestFolders:
    @pytest.mark.parametrize(
        ("shape", "expected"),
        [((7, 5, 1), (7, 5, 1)), ((7, 5, 3), (7, 5, 3)), ((7, 5, 4), (7, 5, 4)), ((9, 9, 1), (9, 9, 1))],
    )
    def test_a_model_says_what_images_it_takes(self, tmp_path: Path, shape: tuple, expected: tuple) -> None:
        data = open_data(write_folder(tmp_path / "f"), model_of(shape))
        assert data.input_shape == expected  # type: ignore[union-attr]

    def test_a_model_for_any_size_leaves_the_images_theirs(self, tmp_path: Path) -> None:
        data = open_data(write_folder(tmp_path / "f"), model_of((None, None, 1)))
        assert data.input_shape == (7, 5, 1)  # type: ignore[union-attr]

    @pytest.mark.parametrize("scaling", ["Rescaling", "BatchNormalization", None])
    def test_a_model_that_scales_nothing_is_warned_of(self, scaling: str | None, caplog) -> None:
        layers = keras.layers
        first = {"Rescaling": layers.Rescaling(1 / 255), "BatchNormalization": layers.BatchNormalization()}
        begin = [first[scaling]] if scaling else []
        inner = keras.Sequential([keras.Input((7, 5, 1)), *begin, layers.Conv2D(2, 3)])  # at any depth
        check_scale(keras.Sequential([keras.Input((7, 5, 1)), inner, layers.Flatten(), layers.Dense(3)]))
        assert ("0 to 255" in caplog.text) == (scaling is None)

    def test_a_model_that_may_scale_is_not(self, caplog) -> None:
        inputs = keras.Input((7, 5, 1))
        preparing = keras.Sequential([keras.Input((7, 5, 1)), keras.layers.Rescaling(1 / 255)])
        for scaled in (inputs / 255, preparing(inputs)):
            check_scale(keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(scaled))))
        assert not caplog.text

    def test_detection_in_memory_on_a_grey_folder(self, tmp_path: Path) -> None:
        folder = str(write_folder(tmp_path / "f", images=12))
        found = detect(model_of((7, 5, 1)), folder, detector="neighbours", options={"neighbours": 2})
        assert found.record.rows == 25

    def test_a_file_of_suspects_leads_to_files(self, tmp_path: Path) -> None:
        folder = write_folder(tmp_path / "f", images=12)
        model_of((8, 8, 1)).save(tmp_path / "m.keras")
        detect_file(
            model=tmp_path / "m.keras",
            dataset=str(folder),
            detector="neighbours",
            overrides={"neighbours": 2},
            out=tmp_path / "s.csv",
            all_rows=True,
        )
        with (tmp_path / "s.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        data = load_data(folder)
        assert len(rows) == len(data.train)
        for row in rows:
            assert (folder / row["file"]).is_file()
            assert row["file"].startswith(f"class_{row['given_label']}/")
            assert row["file"] == data.train_ids[int(row["row"])]  # type: ignore[index]
