"""MixUp: blends of rows, of seed, epoch and batch alone."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from support.training import (
    Plain,
    batches,
)
from unlearning.errors import InputError
from unlearning.training import (
    ShuffledBatches,
)
from unlearning.training.objectives import (
    MixUp,
)


def epoch_of(data: keras.utils.PyDataset) -> list[tuple[np.ndarray, np.ndarray]]:
    return [data[i] for i in range(len(data))]


def same(a: list[tuple[np.ndarray, np.ndarray]], b: list[tuple[np.ndarray, np.ndarray]]) -> bool:
    pairs = zip(a, b, strict=True)
    return all(np.array_equal(x, other_x) and np.array_equal(y, other_y) for (x, y), (other_x, other_y) in pairs)


def test_mixup_depends_on_seed_epoch_and_batch_alone() -> None:
    data = MixUp(batches(augment=False), 0.5, num_classes=2, seed=7)
    assert len(data) == 4
    first = epoch_of(data)
    assert same(first, epoch_of(data))
    assert same([data[2]], [first[2]]), "the order of access should not matter"
    data.on_epoch_end()
    second = epoch_of(data)
    assert not same(first, second)
    data.start_at(0)
    assert same(first, epoch_of(data))
    assert same(second, epoch_of(MixUp(batches(), 0.5, num_classes=2, seed=7, epoch=1)))
    assert not same(first, epoch_of(MixUp(batches(), 0.5, num_classes=2, seed=8)))


def test_mixup_blends_rows_with_one_share_a_batch() -> None:
    """Every image is a one of its own position, so that a blend shows what it is made of."""
    labels = np.arange(9) % 3
    x, y = MixUp(Plain(np.eye(9), labels), 1.0, num_classes=3, seed=1)[0]
    assert x.dtype == y.dtype == np.float32
    np.testing.assert_allclose(y.sum(-1), 1, atol=1e-6)
    np.testing.assert_allclose(y, x @ np.eye(3)[labels], atol=1e-6)
    blended = np.diag(x) < 1
    assert blended.sum() > 5
    share = np.diag(x)[blended]
    np.testing.assert_array_equal(share, share[0])
    np.testing.assert_allclose(x.sum(0), 1, atol=1e-6, err_msg="partners should be a permutation")
    np.testing.assert_array_equal(np.count_nonzero(x, axis=-1), 1 + blended)


def test_mixup_without_blending_only_encodes_labels() -> None:
    for (images, labels), (x, y) in zip(epoch_of(batches()), epoch_of(MixUp(batches(), 0, num_classes=2)), strict=True):
        np.testing.assert_array_equal(x, images)
        np.testing.assert_array_equal(y, np.eye(2)[labels])


def test_mixup_turns_bytes_into_floats() -> None:
    images = np.full((6, 2, 2, 1), 255, "uint8")
    x, _ = MixUp(ShuffledBatches(images, np.arange(6) % 2, batch_size=6), 1.0, num_classes=2)[0]
    assert x.dtype == np.float32
    np.testing.assert_allclose(x, 255, rtol=1e-6)


def test_data_sets_without_start_at_can_be_mixed() -> None:
    data = MixUp(Plain(np.zeros((3, 2)), np.arange(3)), num_classes=3)
    data.start_at(2)
    data.on_epoch_begin()
    data.on_epoch_end()
    assert data[0][1].shape == (3, 3)


@pytest.mark.parametrize(
    "batch",
    [
        (np.zeros((3, 2)), np.arange(3), np.ones(3)),
        (np.zeros((3, 2)), np.arange(2)),
        (np.zeros((3, 2)), np.eye(3)),
        (np.zeros((3, 2)), np.arange(3.0)),
        (np.zeros((3, 2)), np.arange(3) + 1),
        (np.zeros((3, 2)), np.arange(3) - 1),
    ],
)
def test_batches_mixup_cannot_mix_are_input_errors(batch: tuple[np.ndarray, ...]) -> None:
    with pytest.raises(InputError, match="data"):
        MixUp(Plain(*batch), num_classes=3)[0]
