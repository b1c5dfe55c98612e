"""Feeding Keras: the same numbers as its own `fit` and `predict`, without autotuning, and errors as they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from support.small import blobs, small_model
from unlearning import feeding
from unlearning.errors import InputError
from unlearning.evaluation import predict
from unlearning.training import ShuffledBatches


def batches(**options: Any) -> ShuffledBatches:
    split = blobs(50)
    return ShuffledBatches(split.images, split.labels, batch_size=16, **options)


def compiled() -> keras.Model:
    model = small_model()
    model.compile(optimizer="adam", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


class TestFit:
    def test_is_fit(self) -> None:
        """To the last bit, over epochs and a second call: the batches come in the same order."""
        ours, theirs = compiled(), compiled()
        here, there = batches(augment=True), batches(augment=True)
        for first, last in ((0, 2), (2, 3)):
            found = feeding.fit(ours, here, initial_epoch=first, epochs=last)
            expected = theirs.fit(there, initial_epoch=first, epochs=last, shuffle=False, verbose=0)
            assert found.history == expected.history
        for one, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)

    def test_what_is_not_plain_is_left_to_keras(self) -> None:
        class Endless(ShuffledBatches):
            num_batches = None

            def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
                return super().__getitem__(index % 3)

        class Lists(ShuffledBatches):
            def __getitem__(self, index: int) -> Any:
                return [tf.constant(part) for part in super().__getitem__(index)]

        split = blobs(50)
        options = {"batch_size": 16}
        endless = Endless(split.images, split.labels, **options)
        assert len(feeding.fit(compiled(), endless, epochs=1, steps_per_epoch=5).history["loss"]) == 1
        assert len(feeding.fit(compiled(), Lists(split.images, split.labels, **options), epochs=2).history["loss"]) == 2
        pairs = tf.data.Dataset.from_tensor_slices((split.images, split.labels)).batch(16)
        assert len(feeding.fit(compiled(), pairs, epochs=2).history["loss"]) == 2


class TestPredict:
    @pytest.mark.parametrize("rows", [1, 16, 50])
    def test_is_predict(self, rows: int) -> None:
        model, images = small_model(), blobs(rows).images
        np.testing.assert_array_equal(predict(model, images, 16), model.predict(images, batch_size=16, verbose=0))

    def test_reads_what_is_on_disk_a_batch_at_a_time(self, tmp_path: Path) -> None:
        np.save(tmp_path / "images.npy", blobs(50).images)
        mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
        read: list[int] = []

        class Watched:
            shape, dtype = mapped.shape, mapped.dtype

            def __len__(self) -> int:
                return len(mapped)

            def __getitem__(self, rows: slice) -> np.ndarray:
                read.append(len(mapped[rows]))
                return mapped[rows]

        found = predict(small_model(), Watched(), 16)
        np.testing.assert_array_equal(found, predict(small_model(), np.array(mapped), 16))
        assert max(read) == 16


def test_pipelines_do_not_tune_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    model, seen = compiled(), []
    monkeypatch.setattr(model, "fit", lambda data, **options: seen.append(data))
    monkeypatch.setattr(model, "predict", lambda data, **options: seen.append(data) or np.zeros((1, 3)))
    feeding.fit(model, batches(), epochs=1)
    predict(model, blobs(50).images, 32)
    assert [data.options().autotune.enabled for data in seen] == [False, False]
    assert [len(data) for data in seen] == [4, 2]


@pytest.mark.parametrize("bad", [0, 3])
def test_errors_are_those_of_whoever_reads(bad: int) -> None:
    """Not TensorFlow's, which would be a traceback where the commands have a line."""

    class Broken(ShuffledBatches):
        def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
            if index == bad:
                raise InputError("Image 7 is broken.")
            return super().__getitem__(index)

    split = blobs(50)
    broken = Broken(split.images, split.labels, batch_size=16)
    with pytest.raises(InputError, match="Image 7"):
        feeding.fit(compiled(), broken, epochs=1)
    with pytest.raises(InputError, match="Image 7"):
        feeding.predict(small_model(), lambda index: broken[index][0], 4)
    with pytest.raises(ValueError, match="shape"):  # those of the model stay what they are
        feeding.predict(small_model(), lambda index: np.zeros((2, 9, 9, 1), np.float32), 2)
