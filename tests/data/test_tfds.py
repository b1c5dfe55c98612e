"""Sets of tensorflow-datasets."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from unlearning.data import (
    load_data,
)
from unlearning.errors import InputError
from unlearning.task import Split


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
