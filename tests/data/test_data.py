"""Sources and splits."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from unlearning.data import load_data
from unlearning.errors import InputError
from unlearning.task import Split

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (40, 5, 4, 3)).astype(np.uint8)
LABELS = np.arange(40) % 4


def write_npz(path: Path, **arrays) -> str:
    np.savez(path, **arrays)
    return str(path)


def write_folder(folder: Path, classes: int = 3, images: int = 6, size: tuple[int, int] = (5, 7)) -> Path:
    for k in range(classes):
        (folder / f"class_{k}").mkdir(parents=True)
        for i in range(images):
            pixels = np.full((size[1], size[0], 3), 10 * k + i, np.uint8)
            Image.fromarray(pixels).save(folder / f"class_{k}" / f"{i}.png")
    return folder


class TestDigits:
    def test_splits_are_a_partition_in_source_order(self) -> None:
        data = load_data("digits")
        assert [len(s) for s in (data.train, data.validation, data.test)] == [1257, 270, 270]
        assert data.input_shape == (8, 8, 1) and data.num_classes == 10 and data.pixel_max == 255
        source = load_digits()
        rows = train_test_split(np.arange(1797), test_size=0.3, random_state=42, stratify=source.target)[0]
        rows = np.sort(rows)
        np.testing.assert_array_equal(data.train.labels, source.target[rows])
        np.testing.assert_array_equal(data.train.images[..., 0], np.round(source.images[rows] * 255 / 16))
        counts = [np.bincount(s.labels, minlength=10) / len(s) for s in (data.train, data.validation, data.test)]
        assert np.abs(counts[0] - counts[1]).max() < 0.01 and np.abs(counts[0] - counts[2]).max() < 0.01

    def test_seed_decides(self) -> None:
        assert load_data("digits").fingerprint() == load_data("digits").fingerprint()
        assert load_data("digits").fingerprint() != load_data("digits", data_seed=1).fingerprint()

    def test_a_subset_keeps_order_and_held_out_rows(self) -> None:
        whole, part = load_data("digits"), load_data("digits", train_rows=100)
        assert len(part.train) == 100
        np.testing.assert_array_equal(part.test.images, whole.test.images)
        flat = whole.train.images.reshape(1257, -1)
        positions = [int(np.flatnonzero((flat == image.ravel()).all(axis=1))[0]) for image in part.train.images]
        assert positions == sorted(positions)

    @pytest.mark.parametrize("rows", [0, 1258])
    def test_impossible_subsets(self, rows: int) -> None:
        with pytest.raises(InputError, match="train_rows"):
            load_data("digits", train_rows=rows)

    @pytest.mark.parametrize("seed", [-1, 2**32])
    def test_impossible_seeds(self, seed: int) -> None:
        with pytest.raises(InputError, match="data_seed"):
            load_data("digits", data_seed=seed)


class TestNpz:
    def test_one_part_is_divided_with_a_warning(self, tmp_path: Path, caplog) -> None:
        data = load_data(write_npz(tmp_path / "mine.npz", images=IMAGES, labels=LABELS, class_names=list("abcd")))
        assert "of its 40 rows, 12 are held out, and row numbers count within the other 28" in caplog.text
        assert [len(s) for s in (data.train, data.validation, data.test)] == [28, 6, 6]
        assert data.name == "mine" and data.class_names == ("a", "b", "c", "d")

    def test_given_parts_are_kept_and_test_is_halved(self, tmp_path: Path) -> None:
        path = write_npz(
            tmp_path / "d.npz",
            train_images=IMAGES,
            train_labels=LABELS,
            test_images=IMAGES[:20],
            test_labels=LABELS[:20],
        )
        data = load_data(path)
        np.testing.assert_array_equal(data.train.images, IMAGES)
        test, validation = train_test_split(np.arange(20), test_size=0.5, random_state=42)
        np.testing.assert_array_equal(data.test.images, IMAGES[test])
        np.testing.assert_array_equal(data.validation.images, IMAGES[validation])

    def test_grey_images_get_a_channel_and_unit_floats_are_noticed(self, tmp_path: Path) -> None:
        data = load_data(write_npz(tmp_path / "d.npz", images=IMAGES[..., 0] / 255.0, labels=LABELS))
        assert data.input_shape == (5, 4, 1) and data.pixel_max == 1.0

    def test_named_classes_may_lack_rows(self, tmp_path: Path) -> None:
        path = write_npz(tmp_path / "d.npz", images=IMAGES, labels=LABELS % 2 * 2, class_names=list("abc"))
        assert load_data(path).num_classes == 3

    @pytest.mark.parametrize(
        ("arrays", "match"),
        [
            ({"images": IMAGES}, "arrays named"),
            ({"images": IMAGES, "labels": LABELS[:-1]}, "one label per image"),
            ({"images": IMAGES, "labels": LABELS / 2}, "integers"),
            ({"images": IMAGES, "labels": LABELS - 1}, r"0\.\.K-1"),
            ({"images": IMAGES, "labels": np.arange(40)}, "at least 4"),
            ({"images": IMAGES[0], "labels": LABELS}, "one label per image"),
            ({"images": IMAGES.astype(complex), "labels": LABELS}, "numbers"),
            ({"images": np.where(IMAGES[7, 2, 1, 0] == IMAGES, np.nan, IMAGES), "labels": LABELS}, "NaN"),
            ({"images": IMAGES, "labels": LABELS, "class_names": list("abc")}, r"classes 0\.\.2"),
            ({"images": IMAGES, "labels": LABELS, "class_names": "abcd"}, "class_names"),
            ({"images": IMAGES, "labels": LABELS % 2 * 10**6}, "1000000 occurs, but 1 does not"),
            ({"images": IMAGES, "labels": LABELS + 1}, "4 occurs, but 0 does not"),
            ({"images": IMAGES, "labels": LABELS * 0}, "two classes"),
            ({"images": IMAGES[:, :0], "labels": LABELS}, "one pixel"),
            (
                {
                    "train_images": IMAGES,
                    "train_labels": LABELS,
                    "test_images": IMAGES[:1],
                    "test_labels": LABELS[:1],
                },
                "two rows",
            ),
            (
                {
                    "train_images": IMAGES,
                    "train_labels": LABELS,
                    "test_images": IMAGES[:9, :3],
                    "test_labels": LABELS[:9],
                },
                "shape",
            ),
        ],
    )
    def test_bad_arrays(self, tmp_path: Path, arrays: dict, match: str) -> None:
        with pytest.raises(InputError, match=match):
            load_data(write_npz(tmp_path / "d.npz", **arrays))

    def test_pickles_garbage_and_missing_files_are_refused(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "p.npz", images=np.array([{}], dtype=object), labels=LABELS)
        (tmp_path / "g.npz").write_bytes(b"not a zip")
        for name in ("p.npz", "g.npz", "nowhere.npz"):
            with pytest.raises(InputError):
                load_data(tmp_path / name)


class TestFolder:
    def test_classes_and_files_are_sorted(self, tmp_path: Path) -> None:
        data = load_data(write_folder(tmp_path / "f"))
        assert data.class_names == ("class_0", "class_1", "class_2")
        assert data.input_shape == (7, 5, 3)
        values = np.concatenate([s.images[:, 0, 0, 0] for s in (data.train, data.validation, data.test)])
        labels = np.concatenate([s.labels for s in (data.train, data.validation, data.test)])
        np.testing.assert_array_equal(labels, values // 10)
        assert load_data(tmp_path / "f", image_size=9).input_shape == (9, 9, 3)
        with pytest.raises(InputError, match="image_size"):
            load_data(tmp_path / "f", image_size=0)

    def test_bad_folders(self, tmp_path: Path) -> None:
        folder = write_folder(tmp_path / "f")
        (folder / "class_1" / "broken.png").write_bytes(b"\x89PNG nothing")
        with pytest.raises(InputError, match=r"broken\.png"):
            load_data(folder)
        (folder / "class_1" / "broken.png").unlink()
        (folder / "empty").mkdir()
        with pytest.raises(InputError, match="none in"):
            load_data(folder)
        (tmp_path / "one" / "only").mkdir(parents=True)
        with pytest.raises(InputError, match="two subfolders"):
            load_data(tmp_path / "one")

    def test_links_out_of_the_folder_are_refused(self, tmp_path: Path) -> None:
        folder = write_folder(tmp_path / "f")
        secret = tmp_path / "secret.png"
        Image.fromarray(IMAGES[0]).save(secret)
        (folder / "class_0" / "x.png").symlink_to(secret)
        with pytest.raises(InputError, match="link"):
            load_data(folder)

    def test_decompression_bombs_are_refused(self, tmp_path: Path, monkeypatch) -> None:
        folder = write_folder(tmp_path / "f")
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)  # the images have 35 pixels
        with pytest.raises(InputError, match=r"0\.png"):
            load_data(folder)


class TestTensorflowDatasets:
    def test_unknown_name_suggests(self) -> None:
        with pytest.raises(InputError, match=r"cifar10"):
            load_data("cifar-10")

    def test_unprepared_set_names_the_way_out(self, tmp_path: Path, monkeypatch) -> None:
        import tensorflow_datasets as tfds

        def offline(*_, **__):
            raise ConnectionError("no network")

        monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", offline)
        with pytest.raises(InputError, match="--data-dir"):
            load_data("mnist", data_dir=tmp_path)

    def test_cifar10_is_split_as_published(self) -> None:
        if "TFDS_DATA_DIR" not in os.environ:
            pytest.skip("TFDS_DATA_DIR is not set; needs a prepared cifar10")
        data = load_data("cifar10")
        assert [len(s) for s in (data.train, data.validation, data.test)] == [50_000, 5_000, 5_000]
        assert data.class_names[3] == "cat"
        assert data.train_ids is not None and data.train_ids[0] == "train_16399"
        np.testing.assert_array_equal(np.bincount(data.train.labels), np.full(10, 5000))
        assert data.train.labels[:5].tolist() == [7, 8, 4, 4, 6]


@pytest.fixture
def cifar100(tmp_path: Path) -> Path:
    """A folder with a prepared cifar100 of 60 training and 20 test rows, written by tensorflow-datasets itself."""
    import tensorflow_datasets as tfds

    with tfds.core.registered.skip_registration():

        class Cifar100(tfds.core.GeneratorBasedBuilder):
            VERSION = tfds.core.Version("3.0.2")

            def _info(self):
                features = {
                    "id": tfds.features.Text(),
                    "image": tfds.features.Image(shape=(32, 32, 3)),
                    "label": tfds.features.ClassLabel(num_classes=100),
                    "coarse_label": tfds.features.ClassLabel(num_classes=20),
                }
                return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

            def _split_generators(self, _):
                return {"train": self._generate_examples("train", 60), "test": self._generate_examples("test", 20)}

            def _generate_examples(self, part, rows):
                for i in range(rows):
                    image = np.full((32, 32, 3), i, np.uint8)
                    yield i, {"id": f"{part}_{i:05d}", "image": image, "label": i, "coarse_label": i % 20}

    Cifar100(data_dir=tmp_path).download_and_prepare()
    return tmp_path


class TestFineLabels:
    def test_superclasses_of_cifar100(self, cifar100: Path) -> None:
        data = load_data("cifar100-superclasses", data_dir=cifar100)
        assert data.name == "cifar100-superclasses" and data.num_classes == 20 and data.fine_labels is not None
        for part in ("train", "validation", "test"):
            split: Split = getattr(data, part)
            pixels = split.images[:, 0, 0, 0].astype(np.int64)
            np.testing.assert_array_equal(split.labels, pixels % 20)
            np.testing.assert_array_equal(data.fine_labels[part], pixels)
        assert data.train_ids is not None
        np.testing.assert_array_equal([int(i[-5:]) for i in data.train_ids], data.train.images[:, 0, 0, 0])
        part = load_data("cifar100-superclasses", data_dir=cifar100, train_rows=30)
        assert part.fine_labels is not None
        np.testing.assert_array_equal(part.fine_labels["train"], part.train.images[:, 0, 0, 0])

    def test_plain_cifar100_is_as_before(self, cifar100: Path) -> None:
        data = load_data("cifar100", data_dir=cifar100)
        assert data.num_classes == 100 and data.fine_labels is None and data.name == "cifar100"
        np.testing.assert_array_equal(data.train.labels, data.train.images[:, 0, 0, 0])

    def test_arrays(self, tmp_path: Path) -> None:
        fine = np.arange(40) % 8
        whole = load_data(write_npz(tmp_path / "a.npz", images=IMAGES, labels=LABELS, fine_labels=fine))
        assert whole.fine_labels is not None
        for part in ("train", "validation", "test"):
            np.testing.assert_array_equal(whole.fine_labels[part] % 4, getattr(whole, part).labels)
        plain = load_data(write_npz(tmp_path / "b.npz", images=IMAGES, labels=LABELS))
        np.testing.assert_array_equal(plain.test.images, whole.test.images)
        other = load_data(write_npz(tmp_path / "c.npz", images=IMAGES, labels=LABELS, fine_labels=fine[::-1].copy()))
        assert plain.fine_labels is None and len({d.fingerprint() for d in (whole, plain, other)}) == 3
        parts = {
            f"{part}_{name}": values[:rows]
            for part, rows in (("train", 40), ("test", 20))
            for name, values in (("images", IMAGES), ("labels", LABELS), ("fine_labels", fine))
        }
        halved = load_data(write_npz(tmp_path / "d.npz", **parts))
        assert halved.fine_labels is not None
        np.testing.assert_array_equal(halved.fine_labels["train"], fine)
        np.testing.assert_array_equal(halved.fine_labels["validation"] % 4, halved.validation.labels)
        for name, wrong, match in (
            ("test_fine_labels", fine[:19], "test fine labels"),
            ("train_fine_labels", fine / 2, "train fine labels"),
            ("train_fine_labels", fine - 1, "train fine labels"),
        ):
            with pytest.raises(InputError, match=match):
                load_data(write_npz(tmp_path / "e.npz", **{**parts, name: wrong}))
        del parts["test_fine_labels"]
        with pytest.raises(InputError, match="every part"):
            load_data(write_npz(tmp_path / "e.npz", **parts))
