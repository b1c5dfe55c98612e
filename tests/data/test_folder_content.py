"""What lies in folders of images besides class folders: splits, leftovers, links; and which row is which file."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from support.images import write_folder
from unlearning.data import ImageData, load_data
from unlearning.data.sources.scanning import Scan
from unlearning.errors import InputError

PARTS = ("train", "validation", "test")


def write_splits(root: Path, **classes: tuple[str, ...]) -> Path:
    """Folders of parts with class folders of six images each; the shade tells part, class and number."""
    for number, (part, names) in enumerate(classes.items()):
        for label, name in enumerate(names):
            for i in range(6):
                path = root / part / name / f"{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(np.full((4, 4, 3), 60 * number + 10 * label + i, np.uint8)).save(path)
    return root


def contents(data: ImageData) -> dict[str, list[tuple[int, int]]]:
    """Shades and labels by part."""
    splits = {part: getattr(data, part) for part in PARTS}
    return {
        part: sorted(zip(split.images[:, 0, 0, 0].tolist(), split.labels.tolist(), strict=True))
        for part, split in splits.items()
    }


def shades(number: int, labels: tuple[int, ...] = (0, 1)) -> list[tuple[int, int]]:
    return [(60 * number + 10 * label + i, label) for label in labels for i in range(6)]


class TestSplits:
    @pytest.mark.parametrize(
        "names",
        [("train", "test", "val"), ("Train", "TEST", "Validation"), ("training", "testing", "valid")],
    )
    def test_all_three(self, tmp_path: Path, names: tuple[str, str, str]) -> None:
        root = write_splits(tmp_path / "set", **dict.fromkeys(names, ("cat", "dog")))
        data = load_data(root)
        assert data.class_names == ("cat", "dog")
        expected = {"train": shades(0), "test": shades(1), "validation": shades(2)}
        assert contents(data) == expected
        assert data.train_ids is not None and data.train_ids[0] == f"{names[0]}/cat/0.png"

    @pytest.mark.parametrize("held_out", ["test", "val"])
    def test_one_held_out_part_is_halved(self, tmp_path: Path, held_out: str) -> None:
        found = contents(load_data(write_splits(tmp_path / "set", train=("a", "b"), **{held_out: ("a", "b")})))
        assert found["train"] == shades(0)
        assert sorted(found["test"] + found["validation"]) == shades(1) and len(found["test"]) == 6

    def test_training_rows_alone_are_divided(self, tmp_path: Path) -> None:
        found = contents(load_data(write_splits(tmp_path / "set", train=("a", "b"))))
        assert sorted(row for rows in found.values() for row in rows) == shades(0) and all(found.values())

    def test_a_held_out_part_may_lack_classes_but_not_add_any(self, tmp_path: Path) -> None:
        root = write_splits(tmp_path / "set", train=("a", "b", "c"), test=("a", "c"))
        data = load_data(root)
        assert data.class_names == ("a", "b", "c")
        assert {label for _, label in contents(data)["test"]} <= {0, 2}
        shutil.move(root / "test/c", root / "test/d")
        with pytest.raises(InputError, match=r"class folders of train.*'d'"):
            load_data(root)

    def test_a_part_without_labels_is_left_out(self, tmp_path: Path, caplog) -> None:
        root = write_splits(tmp_path / "set", train=("a", "b"), val=("a", "b"))
        (root / "test").mkdir()
        shutil.copy(root / "train/a/0.png", root / "test/0.png")
        assert contents(load_data(root))["train"] == shades(0)
        assert "test is left out" in caplog.text

    def test_folders_without_images_beside_parts_do_no_harm(self, tmp_path: Path) -> None:
        root = write_splits(tmp_path / "set", train=("a", "b"), test=("a", "b"))
        (root / "annotations/deep").mkdir(parents=True)
        (root / "annotations/deep/notes.txt").write_text("none")
        assert load_data(root).class_names == ("a", "b")

    def test_class_folders_may_have_these_names(self, tmp_path: Path) -> None:
        root = tmp_path / "vehicles"
        for name in ("car", "test", "train"):
            shutil.copytree(write_folder(tmp_path / name, classes=1) / "class_0", root / name)
        assert load_data(root).class_names == ("car", "test", "train")

    @pytest.mark.parametrize(
        ("parts", "match"),
        [
            (("train", "test", "car"), "car"),
            (("test", "val"), "no train"),
            (("train", "val", "validation"), "one validation folder"),
        ],
    )
    def test_what_is_neither(self, tmp_path: Path, parts: tuple[str, ...], match: str) -> None:
        root = write_splits(tmp_path / "set", **dict.fromkeys(parts, ("a", "b")))
        with pytest.raises(InputError, match=match):
            load_data(root)


class TestLeftovers:
    @pytest.mark.parametrize(
        "place",
        [
            "class_0/._0.png",
            "._0.png",
            "class_0/.hidden/0.png",
            "class_0/deep/.ipynb_checkpoints/0-checkpoint.png",
            ".git/class_0/0.png",
            "__MACOSX/class_0/._0.png",
            "class_1/__MACOSX/0.png",
            "class_0/@eaDir/0.png/SYNOFILE_THUMB.jpg",
            "@eaDir/class_0/0.jpg",
            "$RECYCLE.BIN/0.png",
        ],
    )
    def test_are_skipped_and_counted(self, tmp_path: Path, place: str, caplog) -> None:
        root = write_folder(tmp_path / "f")
        before = load_data(root).fingerprint()
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).write_bytes(b"\0\5\x16\7 no image")
        caplog.clear()
        data = load_data(root)
        assert data.fingerprint() == before and data.class_names == ("class_0", "class_1", "class_2")
        assert "skipped 1 hidden files" in caplog.text

    def test_inside_parts(self, tmp_path: Path, caplog) -> None:
        root = write_splits(tmp_path / "set", train=("a", "b"), test=("a", "b"))
        for place in ("__MACOSX/train/a/._0.png", "train/.DS_Store", "train/a/._0.png", "test/@eaDir/0.png"):
            (root / place).parent.mkdir(parents=True, exist_ok=True)
            (root / place).write_bytes(b"no image")
        assert contents(load_data(root))["train"] == shades(0)
        assert "skipped 3 hidden files" in caplog.text

    def test_a_hidden_folder_may_be_the_set(self, tmp_path: Path) -> None:
        assert len(load_data(write_folder(tmp_path / ".cache" / "f")).train) == 12


class TestTreesWithoutEnd:
    def test_links_to_themselves_and_upwards(self, tmp_path: Path) -> None:
        root = write_folder(tmp_path / "f")
        before = load_data(root).fingerprint()
        (root / "class_0/again").symlink_to(root / "class_0", target_is_directory=True)
        (root / "class_0/up").symlink_to(tmp_path, target_is_directory=True)
        (root / "class_0/self.png").symlink_to("self.png")
        (root / "self").symlink_to("self")
        os.mkfifo(root / "class_0/pipe.png")
        assert load_data(root).fingerprint() == before

    def test_deep_folders_end_in_one_line(self, tmp_path: Path) -> None:
        root = write_folder(tmp_path / "f")
        here = os.getcwd()
        try:
            os.chdir(root / "class_0")
            for _ in range(100):  # pytest itself cannot remove 1,000
                os.mkdir("d")
                os.chdir("d")
        finally:
            os.chdir(here)
        with pytest.raises(InputError, match="nested") as caught:
            load_data(root)
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 300

    def test_the_root_of_the_disk_is_not_walked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Scan, "subfolders", lambda *_: pytest.fail("the disk is walked"))
        for text in ("/", "//", "/../", "/tmp/.."):
            with pytest.raises(InputError, match="root of the disk"):
                load_data(text)

    def test_what_is_no_set_is_not_walked_to_the_end(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        root = write_folder(tmp_path / "f", classes=2)
        shutil.rmtree(root / "class_0")
        for number in range(40):
            (root / f"class_0/{number}").mkdir(parents=True)
            (root / f"class_0/{number}/notes.txt").write_text("")
        monkeypatch.setattr("unlearning.data.sources.scanning._MOST_WITHOUT", 45)
        looked = []
        monkeypatch.setattr(Scan, "_entries", lambda self, folder: looked.append(folder) or list(os.scandir(folder)))
        with pytest.raises(InputError, match="none in"):
            load_data(root)
        assert len(looked) < 20


class TestFiles:
    def test_rows_lead_back_to_files(self, tmp_path: Path) -> None:
        root = write_folder(tmp_path / "f")
        shutil.move(root / "class_2/0.png", root / "class_2/ä b.png")
        data = load_data(root, train_rows=7)
        assert data.train_files is not None and len(data.train_files) == 7
        for path, image, label in zip(data.train_files, data.train.images, data.train.labels, strict=True):
            np.testing.assert_array_equal(np.asarray(Image.open(root / path)), image)
            assert path.startswith(f"class_{label}/")

    def test_ids_that_are_no_files(self) -> None:
        assert load_data("digits").train_files is None
