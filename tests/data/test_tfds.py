"""Sets of tensorflow-datasets."""

from __future__ import annotations

import os
import socket
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from unlearning.data import is_at_hand, load_data
from unlearning.data.sources import reachable
from unlearning.data.sources.reachable import any_reachable
from unlearning.data.sources.tfds import TensorflowDatasets
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

        monkeypatch.setattr(tfds.core.DatasetBuilder, "url_infos", None)
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


class TestNames:
    """What names a file, a folder or nothing at all is met at once, without a walk over the disk."""

    @pytest.mark.parametrize(
        "name", ["data/flowers.tar", "./flowers", "../flowers", "~/flowers", "a b", "x\\y", "a.zip"]
    )
    def test_missing_files_and_folders_are_called_so(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)  # nobody asks it
        with pytest.raises(InputError, match="an existing file or folder"):
            load_data(name)

    def test_names_that_may_be_either(self) -> None:
        with pytest.raises(InputError, match=r"no such file or folder, and tensorflow-datasets has no such set"):
            load_data("data/flowers")

    def test_a_file_of_another_kind(self, tmp_path: Path) -> None:
        (tmp_path / "photo.png").write_bytes(b"")
        with pytest.raises(InputError, match=r"a \.npz file or a folder"):
            load_data(tmp_path / "photo.png")

    @pytest.mark.parametrize("name", ["/", "..", ".", "", "*", "**", "a/../..", "~", "mnist/..", "\0"])
    def test_no_name_walks_the_disk(self, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Path, "glob", lambda *_: pytest.fail("the disk is walked"))
        assert not TensorflowDatasets().is_at_hand(name, str(tmp_path))

    def test_prepared_sets_are_found_at_their_depth(self, tmp_path: Path) -> None:
        for place in ("mnist/3.0.1", "emnist/letters/3.1.0", "deep/a/b/c"):
            (tmp_path / place).mkdir(parents=True)
            (tmp_path / place / "dataset_info.json").write_text("{}")
        names = ("mnist", "mnist:3.0.1", "emnist", "emnist/letters", "emnist/letters:3.1.0")
        assert all(is_at_hand(name, str(tmp_path)) for name in names)
        assert not any(is_at_hand(name, str(tmp_path)) for name in ("deep", "kmnist", "mnist:9.0.0", "emnist/digits"))


class TestOffline:
    @pytest.fixture
    def nowhere(self, monkeypatch: pytest.MonkeyPatch) -> str:
        """An address on this machine where nobody listens."""
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.delenv(name, raising=False)
        with socket.socket() as held:
            held.bind(("127.0.0.1", 0))
            port = held.getsockname()[1]
        return f"http://127.0.0.1:{port}/set.tar.gz"

    def test_no_server_is_one_line(self, tmp_path: Path, monkeypatch, capfd, nowhere: str) -> None:
        import tensorflow_datasets as tfds

        monkeypatch.setattr(tfds.core.DatasetBuilder, "url_infos", {nowhere: None})
        monkeypatch.setattr(
            tfds.core.DatasetBuilder, "download_and_prepare", lambda *_, **__: pytest.fail("it is tried in vain")
        )
        with pytest.raises(InputError, match=r"cannot be reached.*--data-dir.*TFDS_DATA_DIR") as caught:
            load_data("mnist", data_dir=tmp_path)
        assert "\n" not in str(caught.value)
        assert capfd.readouterr().out == ""

    def test_a_server_or_the_proxy_before_it(self, monkeypatch: pytest.MonkeyPatch, nowhere: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            there = f"http://127.0.0.1:{server.getsockname()[1]}"
            assert any_reachable([nowhere, there]) and not any_reachable([nowhere])
            monkeypatch.setenv("http_proxy", there)
            monkeypatch.setenv("no_proxy", "")
            assert any_reachable(["http://name.invalid/x"])
            monkeypatch.setenv("http_proxy", nowhere)
            assert not any_reachable(["http://name.invalid/x"])

    def test_without_an_address_there_is_nothing_to_find_out(self) -> None:
        assert any_reachable([]) and any_reachable(["gs://bucket/x", "no address", "http://"])

    def test_a_server_that_keeps_silent(self, monkeypatch: pytest.MonkeyPatch, nowhere: str) -> None:
        monkeypatch.setattr(reachable, "_PATIENCE_S", 0.2)
        speak, spoken = threading.Event(), threading.Event()
        monkeypatch.setattr(reachable, "_answers", lambda *_: speak.wait() and spoken.set())
        assert not any_reachable([nowhere]) and not spoken.is_set()
        speak.set()

    def test_what_is_printed_goes_to_standard_error(self, tmp_path: Path, monkeypatch, capsys) -> None:
        import tensorflow_datasets as tfds

        def offline(*_, **__):
            print("Downloading and preparing dataset")
            raise ConnectionError("no\nnetwork")

        monkeypatch.setattr(tfds.core.DatasetBuilder, "url_infos", None)
        monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", offline)
        with pytest.raises(InputError, match=r"\(ConnectionError: no network\)"):
            load_data("mnist", data_dir=tmp_path)
        found = capsys.readouterr()
        assert found.out == "" and "Downloading" in found.err


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
