"""Image files as an array."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from support.images import TRAIN, load_clothing1m, write_image
from unlearning.data.image_files import ImageFiles
from unlearning.errors import InputError
from unlearning.noise import Corruption, Patch, corrupt
from unlearning.task import Split
from unlearning.training import ShuffledBatches


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
