"""Clothing1M and WebVision on small generated folders in their official layouts."""

from __future__ import annotations

import threading
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from sklearn.model_selection import train_test_split

from unlearning import methods
from unlearning.data import load_data
from unlearning.data.clothing1m import load_clothing1m
from unlearning.data.image_files import IMAGE_SIZE, ImageFiles
from unlearning.data.webvision import load_webvision
from unlearning.errors import InputError
from unlearning.evaluation import accuracy, predict
from unlearning.influence.head import Head
from unlearning.influence.problem import InfluenceProblem
from unlearning.influence.rows import RowStore
from unlearning.influence.settings import FeatureSettings
from unlearning.noise import Corruption, Patch, corrupt
from unlearning.projection.selection import select_trusted
from unlearning.task import Corrections, Split, UnlearningTask
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


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of images decoded by every access so far."""
    counts: list[int] = []
    original = ImageFiles.__getitem__

    def counting(self, index):
        images = original(self, index)
        counts.append(images.size // int(np.prod(self.shape[1:])))
        return images

    monkeypatch.setattr(ImageFiles, "__getitem__", counting)
    return counts


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

    def test_a_split_takes_them(self, clothing: Path) -> None:
        files = ImageFiles(clothing, TRAIN, image_size=8)
        assert len(Split(files, np.zeros(12, int))) == 12
        with pytest.raises(InputError, match="one label per image"):
            Split(files, np.zeros(11, int))


class TestStreaming:
    """What the library does with image files equals what it does with the same images in memory, batch by batch."""

    BATCH = 512  # the largest batch of any of these passes

    @pytest.fixture
    def lazy(self, clothing: Path) -> Split:
        return Split(ImageFiles(clothing, TRAIN * 60, image_size=8), np.arange(720) % 12 % 3)

    @pytest.fixture
    def held(self, lazy: Split) -> Split:
        return Split(np.asarray(lazy.images), lazy.labels)

    @pytest.fixture
    def model(self) -> keras.Model:
        keras.utils.set_random_seed(0)
        layers = keras.layers
        return keras.Sequential(
            [
                keras.Input((8, 8, 3)),
                layers.Rescaling(1 / 255),
                layers.Conv2D(6, 3, activation="relu"),
                layers.Flatten(),
                layers.Dense(3),
            ]
        )

    @staticmethod
    def task(split: Split, corrected_images: bool) -> UnlearningTask:
        """Every second row has a wrong label; corrected images are a little different from those of training."""
        rows = np.arange(1, len(split), 2)
        given = split.labels.copy()
        given[rows] = (given[rows] + 1) % 3
        images = split.images[rows] ^ 15 if corrected_images else None
        corrections = Corrections(rows, split.labels[rows], images)
        return UnlearningTask(Split(split.images, given), corrections, split.subset(np.arange(40, 660)), 3)

    def test_a_subset_of_a_split(self, lazy: Split, held: Split, asked: list[int]) -> None:
        for rows in (np.array([4, 0, 4]), np.arange(720) % 7 == 0):
            part = lazy.subset(rows)
            assert isinstance(part.images, ImageFiles) and not asked
            np.testing.assert_array_equal(part.images, held.subset(rows).images)
            np.testing.assert_array_equal(part.labels, held.labels[rows])
            asked.clear()
        assert type(held.subset(np.array([1])).images) is np.ndarray

    def test_predictions(self, lazy: Split, held: Split, model: keras.Model, asked: list[int]) -> None:
        for batch_size in (300, 1000):
            expected = model.predict(held.images, batch_size=batch_size, verbose=0)
            np.testing.assert_array_equal(predict(model, held.images, batch_size), expected)
            asked.clear()
            np.testing.assert_array_equal(predict(model, lazy.images, batch_size), expected)
            assert max(asked) <= batch_size and sum(asked) == 720
        asked.clear()
        assert accuracy(model, lazy) == accuracy(model, held)
        assert asked == [512, 208]

    def test_memory_maps(self, held: Split, model: keras.Model, tmp_path: Path) -> None:
        np.save(tmp_path / "images.npy", held.images)
        mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
        np.testing.assert_array_equal(predict(model, mapped, 300), predict(model, held.images, 300))

    @pytest.mark.parametrize(("by", "candidates"), [("loss", None), ("loss", 600), ("curvature", 600)])
    def test_trusted_rows(
        self, lazy: Split, held: Split, model: keras.Model, asked: list[int], by: str, candidates: int | None
    ) -> None:
        options = {"count": 30, "by": by, "num_classes": 3, "candidates": candidates, "seed": 1}
        rows, _ = select_trusted(model, lazy, **options)
        assert max(asked) <= self.BATCH
        np.testing.assert_array_equal(rows, select_trusted(model, held, **options)[0])

    @pytest.mark.parametrize("cached", [True, False])
    @pytest.mark.parametrize("corrected_images", [True, False])
    def test_influence(
        self, lazy: Split, held: Split, model: keras.Model, asked: list[int], cached: bool, corrected_images: bool
    ) -> None:
        # One byte: what is not features is read batch by batch.
        settings = FeatureSettings(cache_features=cached, batch_rows=100, memory_limit_bytes=1)
        expected = InfluenceProblem(model, self.task(held, corrected_images), FeatureSettings(batch_rows=100))
        task = self.task(lazy, corrected_images)
        asked.clear()
        problem = InfluenceProblem(model, task, settings)
        at = problem.initial
        for found, wanted in (
            (problem.right_hand_side(at), expected.right_hand_side(at)),
            (problem.corrected.gradient(at), expected.corrected.gradient(at)),
        ):
            assert np.abs(wanted).max() > 0
            np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)
        assert problem.validation_accuracy(at) == expected.validation_accuracy(at)
        assert 0 < max(asked) <= self.BATCH

    @pytest.mark.parametrize("limit", [1, 2**30])
    @pytest.mark.parametrize("second", [np.uint8, np.float32])
    def test_stacked_rows(
        self, lazy: Split, held: Split, model: keras.Model, asked: list[int], limit: int, second: type
    ) -> None:
        head = Head(model, cache_features=False)
        other = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3)).astype(second)
        parts = [lazy.images, other[:0], other]
        store = RowStore.from_images(head, parts, memory_limit_bytes=limit)
        assert store.rows == 723 and store.in_memory == (limit > 1)
        assert bool(asked) == store.in_memory
        rows = np.array([722, 0, 719, 720, 5, 5])
        found = store.fetch(rows)
        assert found.dtype == "float32"
        np.testing.assert_array_equal(found, np.concatenate([held.images, other])[rows])

    @pytest.mark.parametrize(
        ("name", "options"),
        [
            ("second-order", {"steps": 1, "cg_iterations": 2, "power_iterations": 2, "dampings": [0.1]}),
            ("sap", {"trusted_count": 30, "alphas": [10.0, 3.0, 1.5, 1.1], "patience": 4}),
        ],
    )
    def test_methods(
        self, lazy: Split, held: Split, model: keras.Model, asked: list[int], name: str, options: dict
    ) -> None:
        method = methods.get(name, options)
        model.compile(keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        model.fit(held.images, self.task(held, False).train.labels, epochs=4, verbose=0)
        expected = method.unlearn(model, self.task(held, True))
        task = self.task(lazy, True)
        asked.clear()
        outcome = method.unlearn(model, task)
        assert sum(asked) > len(lazy) and max(asked) <= self.BATCH
        assert (outcome.status, outcome.work) == (expected.status, expected.work)
        found_scores, scores = ([row["validation_accuracy"] for row in o.history] for o in (outcome, expected))
        assert found_scores == scores and len(set(scores)) > 1
        for found, wanted in zip(outcome.model.get_weights(), expected.model.get_weights(), strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)


class TestNoise:
    def test_labels_can_be_corrupted(self, clothing: Path, opened: list[str]) -> None:
        split = load_clothing1m(clothing).train
        corruption = corrupt("symmetric", split, budget=4, seed=0, num_classes=14)
        given = corruption.apply(split)
        assert given.images is split.images and corruption.budget == 4 and not opened

    @pytest.mark.parametrize(("kind", "reason"), [("backdoor", "changes pixels"), ("instance", "compares the pixels")])
    def test_pixels_need_memory(self, clothing: Path, opened: list[str], kind: str, reason: str) -> None:
        split = load_clothing1m(clothing, image_size=8).train
        with pytest.raises(InputError, match=rf"{reason}.*read from disk.*'symmetric'.*np\.asarray"):
            corrupt(kind, split, budget=4, seed=0, num_classes=14)
        assert not opened
        held = Split(np.asarray(split.images), split.labels)
        assert corrupt(kind, held, budget=4, seed=0, num_classes=14).budget == 4

    def test_a_recorded_backdoor_needs_memory(self, clothing: Path, opened: list[str]) -> None:
        split = load_clothing1m(clothing).train
        record = Corruption("backdoor", 0, split.labels, split.labels, np.array([1]), Patch(1, 255.0, 0))
        with pytest.raises(InputError, match=r"changes pixels.*read from disk"):
            record.apply(split)
        assert not opened
