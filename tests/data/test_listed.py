"""Clothing1M and WebVision on small generated folders in their official layouts."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from sklearn.model_selection import train_test_split

from support.hostile import bounded
from support.images import TEST, TRAIN, VALIDATION, edit, load_clothing1m, load_webvision, write_lines
from unlearning.data import load_data
from unlearning.data.image_files import IMAGE_SIZE
from unlearning.errors import InputError


class TestClothing1M:
    def test_splits_and_labels(self, clothing: Path) -> None:
        data = load_data(f"clothing1m:{clothing}", image_size=8)
        assert data.name == "clothing1m" and data.num_classes == 14 and data.pixel_max == 255
        assert data.input_shape == (8, 8, 3)
        np.testing.assert_array_equal(data.train.labels, np.arange(12))
        np.testing.assert_array_equal(data.validation.labels, [11, 10, 9, 8])
        np.testing.assert_array_equal(data.test.labels, [7, 6, 5, 4, 3])
        assert list(data.train_ids) == TRAIN
        assert data.train.images.paths == tuple(TRAIN)
        assert data.validation.images.paths == tuple(VALIDATION) and data.test.images.paths == tuple(TEST)

    def test_class_names(self, clothing: Path) -> None:
        assert load_clothing1m(clothing).class_names[::13] == ("T-Shirt", "Underwear")
        write_lines(clothing / "category_names_eng.txt", [f"name {i}" for i in range(14)])
        assert load_clothing1m(clothing).class_names == tuple(f"name {i}" for i in range(14))
        for names in (["a", "b"], ["a"] * 14):
            write_lines(clothing / "category_names_eng.txt", names)
            with pytest.raises(InputError, match="14 different names"):
                load_clothing1m(clothing)

    def test_nothing_is_read_before_it_is_asked_for(self, clothing: Path, opened: list[str]) -> None:
        data = load_data(f"clothing1m:{clothing}", train_rows=7)
        assert data.train.images.shape == (7, IMAGE_SIZE, IMAGE_SIZE, 3)
        data.fingerprint()
        data.train.images.subset(np.array([1, 2]))
        assert opened == []
        data.train.images[[5, 0, 5]]
        assert sorted(opened) == sorted(Path(data.train_ids[i]).name for i in (0, 5, 5))

    def test_a_subset_is_the_seeds(self, clothing: Path) -> None:
        data = load_clothing1m(clothing, train_rows=5, data_seed=3, image_size=8)
        rows = np.sort(np.random.default_rng(3).choice(12, 5, replace=False))
        np.testing.assert_array_equal(data.train.labels, rows)
        assert list(data.train_ids) == list(data.train.images.paths) == [TRAIN[row] for row in rows]
        whole = load_clothing1m(clothing, image_size=8)
        np.testing.assert_array_equal(data.train.images[:], whole.train.images[rows])
        assert len(data.validation) == 4

    def test_only_the_drawn_rows_need_exist(self, clothing: Path) -> None:
        kept = set(load_clothing1m(clothing, train_rows=5).train_ids)
        for path in set(TRAIN) - kept:
            (clothing / path).unlink()
        assert len(load_clothing1m(clothing, train_rows=5).train) == 5
        with pytest.raises(InputError, match="Cannot find the image"):
            load_clothing1m(clothing)

    def test_fingerprint_covers_paths_labels_sizes_and_image_size(self, clothing: Path) -> None:
        seen = [load_clothing1m(clothing, image_size=8).fingerprint()]
        assert load_clothing1m(clothing, image_size=8).fingerprint() == seen[0]
        seen.append(load_clothing1m(clothing, image_size=9).fingerprint())
        with open(clothing / TRAIN[3], "ab") as file:
            file.write(b"more")
        seen.append(load_clothing1m(clothing, image_size=8).fingerprint())
        edit(clothing / "clean_label_kv.txt", 3, f"{VALIDATION[0]} 0")
        seen.append(load_clothing1m(clothing, image_size=8).fingerprint())
        write_lines(clothing / "clean_test_key_list.txt", TEST[::-1])
        seen.append(load_clothing1m(clothing, image_size=8).fingerprint())
        assert len(set(seen)) == 5

    def test_blank_lines_and_windows_line_ends(self, clothing: Path) -> None:
        (clothing / "clean_val_key_list.txt").write_bytes("\r\n\r\n".join(VALIDATION).encode() + b"\r\n\n")
        assert load_clothing1m(clothing).validation.images.paths == tuple(VALIDATION)

    @pytest.mark.parametrize("name", ["noisy_train_key_list.txt", "clean_test_key_list.txt", "clean_label_kv.txt"])
    def test_missing_and_empty_lists(self, clothing: Path, name: str) -> None:
        (clothing / name).write_text("\n")
        with pytest.raises(InputError, match=rf"{name}.*empty list"):
            load_clothing1m(clothing)
        (clothing / name).unlink()
        with pytest.raises(InputError, match=rf"existing list.*{name}"):
            load_clothing1m(clothing)

    @pytest.mark.parametrize(
        ("name", "line", "match"),
        [
            ("noisy_label_kv.txt", "images/0/00.jpg", "integer label"),
            ("noisy_label_kv.txt", "5", "integer label"),
            ("noisy_label_kv.txt", "images/0/00.jpg five", "integer label"),
            ("noisy_label_kv.txt", "images/0/00.jpg 1.0", "integer label"),
            ("noisy_label_kv.txt", "images/0/00.jpg 14", r"0\.\.13.*14"),
            ("clean_label_kv.txt", "images/0/00.jpg -1", r"0\.\.13.*-1"),
            ("clean_label_kv.txt", "../outside.jpg 1", "inside"),
            ("clean_label_kv.txt", f"{TRAIN[0]} 2", "one label a path"),
            ("noisy_train_key_list.txt", "/etc/passwd", "inside"),
            ("noisy_train_key_list.txt", "images/../../outside.jpg", "inside"),
            ("noisy_train_key_list.txt", "..\\outside.jpg", "inside"),
            ("noisy_train_key_list.txt", "C:/outside.jpg", "inside"),
            ("clean_val_key_list.txt", "images/9/unknown.jpg", "has a label"),
        ],
    )
    def test_bad_lines_are_named(self, clothing: Path, name: str, line: str, match: str) -> None:
        edit(clothing / name, 3, line)
        with pytest.raises(InputError, match=rf"`{name}, line 3`.*{match}"):
            load_clothing1m(clothing)

    def test_binary_lists(self, clothing: Path) -> None:
        (clothing / "noisy_label_kv.txt").write_bytes(b"\xff\xfe\x00")
        with pytest.raises(InputError, match="Cannot read the list"):
            load_clothing1m(clothing)

    @pytest.mark.parametrize(
        ("options", "match"),
        [
            ({"train_rows": 0}, "train_rows"),
            ({"train_rows": 13}, r"1\.\.12"),
            ({"image_size": 0}, "image_size"),
            ({"data_seed": -1}, "data_seed"),
        ],
    )
    def test_bad_options(self, clothing: Path, options: dict, match: str) -> None:
        with pytest.raises(InputError, match=match):
            load_clothing1m(clothing, **options)

    @pytest.mark.parametrize("source", ["clothing1m:", "clothing1m:nowhere", "webvision:", "mini-webvision:nowhere"])
    def test_no_folder(self, source: str) -> None:
        with pytest.raises(InputError, match="existing folder"):
            load_data(source)


class TestWebVision:
    def test_all_of_it(self, webvision: Path) -> None:
        data = load_data(f"webvision:{webvision}", image_size=8)
        assert data.name == "webvision" and data.num_classes == 52
        np.testing.assert_array_equal(data.train.labels, [0, 49, 50, 3, 51, 0, 7, 1, 2, 51, 0])
        assert data.train_ids[7:9].tolist() == ["google/q0007/7.jpg", "flickr/q0000/0.jpg"]
        assert data.class_names[:2] == ("tench", "great white shark") and data.class_names[51] == "thing 51"

    def test_classes_that_share_a_name_stay_apart(self, webvision: Path) -> None:
        names = load_webvision(webvision, mini=False).class_names
        assert names[2:4] == ("crane (n00000002)", "crane (n00000003)") and len(set(names)) == 52

    def test_the_mini_set(self, webvision: Path) -> None:
        (webvision / "info" / "train_filelist_flickr.txt").unlink()  # it is not needed
        data = load_data(f"mini-webvision:{webvision}", image_size=8)
        assert data.name == "mini-webvision" and data.num_classes == 50
        np.testing.assert_array_equal(data.train.labels, [0, 49, 3, 0, 7, 1])
        assert {p.split("/")[0] for p in data.train_ids} == {"google"}
        assert sorted([*data.validation.labels, *data.test.labels]) == [0, 1, 2, 3, 4, 5, 49]

    @pytest.mark.parametrize("seed", [42, 7])
    def test_the_validation_list_is_halved(self, webvision: Path, seed: int, opened: list[str]) -> None:
        data = load_webvision(webvision, mini=False, data_seed=seed)
        test, validation = train_test_split(np.arange(9), test_size=0.5, random_state=seed)
        labels = np.array([0, 50, 1, 49, 2, 51, 3, 4, 5])
        for split, rows in ((data.test, test), (data.validation, validation)):
            assert split.images.paths == tuple(f"val{row:06}.jpg" for row in rows)
            np.testing.assert_array_equal(split.labels, labels[rows])
        assert opened == []
        assert data.test.images[0].shape == (IMAGE_SIZE, IMAGE_SIZE, 3)

    def test_a_subset(self, webvision: Path) -> None:
        data = load_webvision(webvision, mini=True, train_rows=3, data_seed=1)
        rows = np.sort(np.random.default_rng(1).choice(6, 3, replace=False))
        np.testing.assert_array_equal(data.train.labels, np.array([0, 49, 3, 0, 7, 1])[rows])

    @pytest.mark.parametrize(
        ("name", "line", "match"),
        [
            ("synsets.txt", "n00000002", "line 3.*identifier and a name"),
            ("synsets.txt", "n00000002 , bird", "line 3.*identifier and a name"),
            ("train_filelist_google.txt", "google/q0002/2.jpg", "line 3.*integer label"),
            ("train_filelist_google.txt", "google/q0002/2.jpg 52", r"line 3.*0\.\.51"),
            ("train_filelist_flickr.txt", "/flickr/2.jpg 0", "line 3.*inside"),
            ("val_filelist.txt", "../google/q0000/0.jpg 0", "line 3.*inside"),
            ("val_filelist.txt", "val999999.jpg 0", "Cannot find the image"),
        ],
    )
    def test_bad_lines_are_named(self, webvision: Path, name: str, line: str, match: str) -> None:
        edit(webvision / "info" / name, 3, line)
        with pytest.raises(InputError, match=match):
            load_webvision(webvision, mini=False)

    def test_no_row_of_the_first_classes(self, webvision: Path) -> None:
        write_lines(webvision / "info" / "train_filelist_google.txt", ["google/q0002/2.jpg 50"])
        with pytest.raises(InputError, match=r"train_filelist_google\.txt.*0\.\.49"):
            load_webvision(webvision, mini=True)


class TestLimits:
    """Lists that nobody vouches for take no more time and memory than the largest real ones."""

    LISTS = (
        ("webvision", "info/synsets.txt"),
        ("webvision", "info/val_filelist.txt"),
        ("clothing", "noisy_label_kv.txt"),
    )

    @pytest.fixture
    def load(self, clothing: Path, webvision: Path):
        roots = {"clothing": clothing, "webvision": webvision}

        def load(kind: str, name: str, change) -> None:
            change(roots[kind] / name)
            load_clothing1m(roots[kind]) if kind == "clothing" else load_webvision(roots[kind], mini=True)

        return load

    @pytest.mark.parametrize(("kind", "name"), LISTS)
    def test_a_file_without_end(self, load, kind: str, name: str) -> None:
        with pytest.raises(InputError, match="at most 268435456 bytes"):
            load(kind, name, lambda path: os.truncate(path, 2**30))

    @pytest.mark.parametrize(("kind", "name"), LISTS)
    def test_a_line_without_end(self, load, kind: str, name: str) -> None:
        with bounded(20), pytest.raises(InputError, match=r"\.txt, line \d+.*at most 4096 characters"):
            load(kind, name, lambda path: os.truncate(path, 2**28))  # null characters, and no end of line

    @pytest.mark.parametrize(("kind", "name"), LISTS)
    def test_lines_without_end(self, load, kind: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("unlearning.data.sources.listed._MOST_LINES", 200)
        with pytest.raises(InputError, match="at most 200 lines"):
            load(kind, name, lambda path: path.write_text(path.read_text() + "\n" * 300))
