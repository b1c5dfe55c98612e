"""Vectors, token sequences and images through the same commands and detectors, from arrays, batches and files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from support.command import assert_refused, cli
from support.paths import ROOT
from unlearning import detect, repair
from unlearning.data import load_data
from unlearning.data.streamed import RowsOnDisk, as_classes, from_mapping, gather, open_rows
from unlearning.data.streamed import batched as batches
from unlearning.errors import InputError

layers = keras.layers
ROWS, BAD = 240, 60


def make(kind: str):
    """Rows, true labels, and a model that has learned the wrong ones."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    labels = np.arange(2 * ROWS) % 3
    if kind == "vectors":
        rows = (rng.normal(0, 1, (2 * ROWS, 8)) + 2.5 * np.eye(3, 8)[labels]).astype(np.float32)
        model = keras.Sequential([keras.Input((8,)), layers.Dense(32, "relu"), layers.Dense(3, activation="softmax")])
    else:
        rows = np.where(rng.random((2 * ROWS, 6)) < 0.6, labels[:, None] + 1, rng.integers(1, 9, (2 * ROWS, 6)))
        rows = rows.astype(np.int32)
        model = keras.Sequential([keras.Input((6,), dtype="int32"), layers.Embedding(9, 8, mask_zero=True)])
        model.add(layers.GRU(8))
        model.add(layers.Dense(3, activation="softmax"))
    given = labels.copy()
    given[:BAD] = (given[:BAD] + 1) % 3
    model.compile(keras.optimizers.Adam(0.02), "sparse_categorical_crossentropy")
    model.fit(rows[:ROWS], given[:ROWS], epochs=40, batch_size=60, verbose=0)
    return rows, labels, given, model


@pytest.fixture(scope="module", params=["vectors", "tokens"])
def kind(request, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    rows, labels, given, model = make(request.param)
    model.save(folder / "m.keras")
    np.savez(
        folder / "data.npz",
        train_inputs=rows[:ROWS],
        train_labels=given[:ROWS],
        test_inputs=rows[ROWS:],
        test_labels=labels[ROWS:],
    )
    (folder / "arrays").mkdir()
    with np.load(folder / "data.npz") as file:
        for name in file.files:
            np.save(folder / "arrays" / f"{name}.npy", file[name])
    lines = [f"{row},{label}\n" for row, label in enumerate(labels[:BAD])]
    (folder / "flagged.csv").write_text("row,corrected_label\n" + "".join(lines))
    return folder


class TestCommands:
    @pytest.mark.parametrize("data", ["arrays", pytest.param("data.npz", marks=pytest.mark.slow)])
    def test_repair(self, kind: Path, data: str) -> None:
        arguments = ("--flagged", "flagged.csv", "--out", f"{data}.keras", "--quiet", "--force")
        done = cli("repair", "m.keras", "--data", data, *arguments, cwd=kind)
        assert done.returncode == 0, done.stderr
        assert "improved" in done.stdout or "Not taken" in done.stdout

    @pytest.mark.parametrize("detector", ["neighbours", "cross-validation"])
    def test_detect(self, kind: Path, detector: str) -> None:
        arguments = ("--detect", detector, "--out", "s.csv", "--quiet", "--force")
        done = cli("detect", "m.keras", "--data", "data.npz", *arguments, cwd=kind)
        assert done.returncode == 0, done.stderr

    def test_patches_say_that_they_need_images(self, kind: Path) -> None:
        done = cli(
            "detect", "m.keras", "--data", "data.npz", "--detect", "patches", "--out", "s.csv", "--force", cwd=kind
        )
        assert_refused(done, "patches needs images of shape (rows, height, width, channels)")

    def test_features_as_an_array(self, kind: Path) -> None:
        train = load_data(str(kind / "data.npz")).train
        np.save(kind / "features.npy", np.eye(3)[np.arange(ROWS) % 3] + 0.01 * np.asarray(train.images)[:, :3])
        arguments = ("--eyes", "features.npy", "--out", "s.csv", "--quiet", "--force")
        done = cli("detect", "m.keras", "--data", "data.npz", *arguments, cwd=kind)
        assert done.returncode == 0, done.stderr
        found = {int(line.split(",")[0]) for line in (kind / "s.csv").read_text().splitlines()[1:]}
        assert len(found & set(range(BAD))) > 0.9 * BAD and len(found) < 1.2 * BAD


class TestBatches:
    def test_tf_data_and_py_dataset_are_the_arrays(self) -> None:
        rows, labels = np.arange(20.0).reshape(10, 2), np.arange(10) % 2

        class Own(keras.utils.PyDataset):
            def __len__(self):
                return 4

            def __getitem__(self, number):
                return rows[3 * number : 3 * number + 3], np.eye(2)[labels[3 * number : 3 * number + 3]]

        for data in (tf.data.Dataset.from_tensor_slices((rows, labels)).batch(3), Own()):
            inputs, classes = gather(data)
            np.testing.assert_array_equal(inputs, rows)
            np.testing.assert_array_equal(classes, labels)

    def test_what_does_not_fit_goes_to_a_file(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(batches, "available_memory", lambda: 0)
        rows = np.arange(40.0).reshape(20, 2)
        inputs, _ = gather(tf.data.Dataset.from_tensor_slices((rows, np.arange(20) % 2)).batch(6))
        path = inputs.path
        assert isinstance(inputs, RowsOnDisk) and path.is_file()
        np.testing.assert_array_equal(inputs[[19, 0, 1]], rows[[19, 0, 1]])
        del inputs
        assert not path.exists()

    @pytest.mark.parametrize(
        ("data", "words"),
        [
            (tf.data.Dataset.from_tensor_slices((np.eye(4), np.ones((4, 3)))).batch(2), "multi-label"),
            (tf.data.Dataset.from_tensor_slices(np.eye(4)).batch(2), "batches"),
            (tf.data.Dataset.from_tensor_slices((np.eye(4), np.arange(4))).batch(2).repeat(), "without an end"),
        ],
    )
    def test_refused(self, data, words: str) -> None:
        with pytest.raises(InputError, match=words):
            gather(data)

    def test_labels_in_other_forms(self) -> None:
        for given in (np.array([0, 2, 1]), np.eye(3)[[0, 2, 1]], np.array([[0.0], [2.0], [1.0]])):
            assert as_classes(given).tolist() == [0, 2, 1]

    def test_repair_and_detect_take_them(self) -> None:
        rows, labels, given, model = make("vectors")
        data = tf.data.Dataset.from_tensor_slices((rows[:ROWS], given[:ROWS])).batch(50)
        held = tf.data.Dataset.from_tensor_slices((rows[ROWS:], labels[ROWS:])).batch(50)
        done = repair(model, data, flagged=(np.arange(BAD), labels[:BAD]), validation=held)
        assert done.outcome.applied
        assert detect(model, data, detector="neighbours").record.rows == ROWS


class TestOnDisk:
    def test_indexing_is_that_of_arrays(self, tmp_path: Path) -> None:
        array = np.arange(60, dtype=np.int16).reshape(10, 3, 2)
        np.save(tmp_path / "a.npy", array)
        rows = open_rows(tmp_path / "a.npy")
        for index in (3, -1, slice(2, 7, 2), [9, 0, 0, 4], np.arange(10) > 6, slice(0, 0)):
            np.testing.assert_array_equal(rows[index], array[index])
        part = rows.subset(np.array([8, 1, 2]))
        np.testing.assert_array_equal(np.asarray(part), array[[8, 1, 2]])
        mapped = from_mapping(np.load(tmp_path / "a.npy", mmap_mode="r"))
        assert isinstance(mapped, RowsOnDisk)
        np.testing.assert_array_equal(mapped[4:6], array[4:6])

    def test_a_short_file_and_no_file(self, tmp_path: Path) -> None:
        np.save(tmp_path / "a.npy", np.zeros((10, 100)))
        (tmp_path / "b.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:500])
        (tmp_path / "c.npy").write_bytes(b"nothing")
        for name, words in (("b", "shorter"), ("c", "Cannot read")):
            with pytest.raises(InputError, match=words):
                open_rows(tmp_path / f"{name}.npy")


CAPPED = """
import resource, sys
import keras, numpy as np
from unlearning import load_data, load_model, repair
from unlearning.evaluation import accuracy

peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
data, model = load_data("."), load_model("m.keras", compiled=True)
few = data.train.images[:64]
model.fit(few, data.train.labels[:64], verbose=0)  # what TensorFlow itself takes
accuracy(model, data.validation)
before = peak()
right = {row: int(1 - data.train.labels[row]) for row in range(200)}
repair(model, data, flagged=right, method="second-order")
repair(model, data, flagged=right, method="retraining-unflagged", options={"epochs": 1})
print(peak() - before, data.train.images.nbytes // 2**20)
"""


@pytest.mark.slow
def test_a_set_larger_than_memory_is_repaired_in_bounded_memory(tmp_path: Path) -> None:
    shape = (12_000, 128, 128, 1)  # 750 MB, of which the file system keeps only what is not zero
    for part, rows in (("train", shape[0]), ("test", 1_000)):
        images = np.lib.format.open_memmap(tmp_path / f"{part}_images.npy", "w+", np.float32, (rows, *shape[1:]))
        labels = np.arange(rows) % 2
        images[:, 0, 0, 0] = 1000 * labels
        images.flush()
        np.save(tmp_path / f"{part}_labels.npy", labels)
    model = keras.Sequential([keras.Input(shape[1:]), layers.AveragePooling2D(32), layers.Flatten(), layers.Dense(2)])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.save(tmp_path / "m.keras")
    done = subprocess.run(
        [sys.executable, "-c", CAPPED],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    grown, whole = map(int, done.stdout.split()[-2:])
    assert whole == 750 and grown < 250, (grown, whole)
