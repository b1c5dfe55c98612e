"""Clothing1M and WebVision on small generated folders in their official layouts."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from sklearn.model_selection import train_test_split

from unlearning.data import load_data
from unlearning.data.listed import IMAGE_SIZE, ImageFiles, load_clothing1m, load_webvision
from unlearning.data.pipelines import evaluation_pipeline, training_pipeline
from unlearning.errors import InputError
from unlearning.task import Split
from unlearning.training import ShuffledBatches

TRAIN = [f"images/0/{i:02}.jpg" for i in range(12)]
VALIDATION = [f"images/1/{i:02}.jpg" for i in range(4)]
TEST = [f"images/2/{i:02}.jpg" for i in range(5)]


def write_image(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(value).integers(0, 256, (9 + value % 3, 11, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path)


def write_lines(path: Path, lines) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


@pytest.fixture
def clothing(tmp_path: Path) -> Path:
    root = tmp_path / "clothing"
    for value, path in enumerate(TRAIN + VALIDATION + TEST):
        write_image(root / path, value)
    write_lines(root / "noisy_train_key_list.txt", TRAIN)
    write_lines(root / "clean_train_key_list.txt", TRAIN[:2])
    write_lines(root / "clean_val_key_list.txt", VALIDATION)
    write_lines(root / "clean_test_key_list.txt", TEST)
    # The two tables disagree everywhere, and are in another order than the lists.
    write_lines(root / "noisy_label_kv.txt", [f"{p} {i}" for i, p in reversed(list(enumerate(TRAIN)))])
    clean = TRAIN[:2] + VALIDATION + TEST
    write_lines(root / "clean_label_kv.txt", [f"{p} {13 - i}" for i, p in enumerate(clean)])
    return root


@pytest.fixture
def webvision(tmp_path: Path) -> Path:
    root = tmp_path / "webvision"
    google = [(f"google/q{i:04}/{i}.jpg", label) for i, label in enumerate([0, 49, 50, 3, 51, 0, 7, 1])]
    flickr = [(f"flickr/q{i:04}/{i}.jpg", label) for i, label in enumerate([2, 51, 0])]
    held_out = [(f"val{i:06}.jpg", label) for i, label in enumerate([0, 50, 1, 49, 2, 51, 3, 4, 5])]
    for value, (path, _) in enumerate(google + flickr):
        write_image(root / path, value)
    for value, (path, _) in enumerate(held_out, start=100):
        write_image(root / "val_images_256" / path, value)
    for name, rows in (
        ("train_filelist_google", google),
        ("train_filelist_flickr", flickr),
        ("val_filelist", held_out),
    ):
        write_lines(root / "info" / f"{name}.txt", [f"{path} {label}" for path, label in rows])
    names = ["tench, Tinca tinca", "great white shark, white shark", "crane", "crane, lifting gear"]
    names += [f"thing {i}, other name" for i in range(4, 52)]
    write_lines(root / "info" / "synsets.txt", [f"n{i:08} {name}" for i, name in enumerate(names)])
    return root


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the images opened so far."""
    names: list[str] = []
    lock, original = threading.Lock(), Image.open

    def counting(path, *args, **options):
        with lock:
            names.append(Path(path).name)
        return original(path, *args, **options)

    monkeypatch.setattr(Image, "open", counting)
    return names


def edit(path: Path, line: int, text: str) -> None:
    lines = path.read_text().splitlines()
    lines[line - 1] = text
    write_lines(path, lines)


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


class TestImageFiles:
    @pytest.fixture
    def files(self, clothing: Path) -> ImageFiles:
        return ImageFiles(clothing, TRAIN, image_size=6)

    def test_looks_like_an_array(self, files: ImageFiles) -> None:
        array = np.asarray(files)
        for name in ("shape", "dtype", "ndim", "size", "nbytes"):
            assert getattr(files, name) == getattr(array, name)
        assert len(files) == 12 and np.asarray(files, dtype=np.float32).dtype == np.float32
        np.testing.assert_array_equal(np.stack(list(files)), array)
        assert "12, 6, 6, 3" in repr(files)
        with pytest.raises(ValueError, match="copy"):
            files.__array__(copy=False)

    @pytest.mark.parametrize(
        "index",
        [
            0,
            -1,
            np.int64(3),
            np.array(4),
            slice(2, 9, 3),
            slice(None, None, -1),
            slice(20, 30),
            [3, 1, -2, 3],
            np.array([5, 0], dtype=np.int32),
            np.array([[0, 1, 2], [3, 4, 5]]),
            np.arange(12) % 3 == 0,
            [],
            ...,
            None,
        ],
    )
    def test_indexing_is_numpys(self, files: ImageFiles, index) -> None:
        expected = np.asarray(files)[index]
        found = files[index]
        assert isinstance(found, np.ndarray) and found.dtype == np.uint8
        np.testing.assert_array_equal(found, expected)

    @pytest.mark.parametrize("index", [12, -13, [0, 12], (0, 1), np.ones(11, bool), 1.5, "a"])
    def test_impossible_indices(self, files: ImageFiles, index) -> None:
        with pytest.raises(IndexError):
            files[index]

    def test_pixels_are_pillows(self, files: ImageFiles, clothing: Path) -> None:
        with Image.open(clothing / TRAIN[2]) as image:
            expected = np.asarray(image.resize((6, 6), Image.Resampling.BILINEAR))
        np.testing.assert_array_equal(files[2], expected)

    def test_every_kind_of_image_becomes_rgb(self, tmp_path: Path) -> None:
        for mode in ("L", "P", "RGBA", "CMYK", "1"):
            Image.new(mode, (5, 4), 1 if mode == "1" else None).save(
                tmp_path / f"{mode}.{'tif' if mode == 'CMYK' else 'png'}"
            )
        names = sorted(path.name for path in tmp_path.iterdir())
        assert ImageFiles(tmp_path, names, image_size=3)[:].shape == (5, 3, 3, 3)

    @pytest.mark.parametrize("content", [b"", b"no image", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"])
    def test_undecodable_images_are_named(self, files: ImageFiles, clothing: Path, content: bytes) -> None:
        (clothing / TRAIN[3]).write_bytes(content)
        for index in (3, slice(None)):
            with pytest.raises(InputError, match=r"Cannot read the image .*03\.jpg"):
                files[index]
        assert files[:3].shape == (3, 6, 6, 3)

    def test_truncated_and_huge_images(
        self, files: ImageFiles, clothing: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole = (clothing / TRAIN[0]).read_bytes()
        (clothing / TRAIN[0]).write_bytes(whole[:-60])
        with pytest.raises(InputError, match="truncated"):
            files[0]
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 60)
        with pytest.warns(Image.DecompressionBombWarning), pytest.raises(InputError, match="more than 60 pixels"):
            files[1]

    @pytest.mark.parametrize(
        ("path", "match"),
        [
            ("../x.jpg", "inside"),
            ("/x.jpg", "inside"),
            ("images", "not a file"),
            ("no.jpg", "Cannot find"),
            ("a\0b", "Cannot find"),
        ],
    )
    def test_bad_paths(self, clothing: Path, path: str, match: str) -> None:
        with pytest.raises(InputError, match=match):
            ImageFiles(clothing, [path])

    def test_a_path_that_climbs_and_returns_is_refused_but_dots_in_names_are_not(self, clothing: Path) -> None:
        write_image(clothing / "a..b.jpg", 0)
        assert len(ImageFiles(clothing, ["a..b.jpg"])) == 1


class TestUse:
    def test_training_reads_only_its_batches(self, clothing: Path, opened: list[str]) -> None:
        data = load_clothing1m(clothing, image_size=8)
        batches = ShuffledBatches(data.train.images, data.train.labels, batch_size=4, seed=0, augment=True)
        images, labels = batches[0]
        assert images.shape == (4, 8, 8, 3) and labels.shape == (4,) and len(opened) == 4
        model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(14)])
        model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        weights = model.get_weights()[0]
        model.fit(batches, steps_per_epoch=2, epochs=1, verbose=0)
        assert np.abs(model.get_weights()[0] - weights).max() > 0
        assert set(opened) <= {Path(path).name for path in TRAIN}

    def test_pipelines_read_what_an_array_holds(self, clothing: Path) -> None:
        lazy = load_clothing1m(clothing, image_size=8).train
        held = dataclasses.replace(lazy, images=np.asarray(lazy.images))
        for build in (
            lambda split: evaluation_pipeline(split, 5),
            lambda split: training_pipeline(split, batch_size=5, seed=1),
            lambda split: training_pipeline(split, batch_size=5, seed=1, cache=True),
        ):
            for (a, a_labels), (b, b_labels) in zip(build(lazy), build(held), strict=True):
                np.testing.assert_array_equal(a, b)
                np.testing.assert_array_equal(a_labels, b_labels)

    def test_a_split_takes_them(self, clothing: Path) -> None:
        files = ImageFiles(clothing, TRAIN, image_size=8)
        assert len(Split(files, np.zeros(12, int))) == 12
        with pytest.raises(InputError, match="one label per image"):
            Split(files, np.zeros(11, int))
