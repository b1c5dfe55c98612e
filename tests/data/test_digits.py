"""Digits, and what all sources do with seeds and subsets."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from unlearning.data import (
    load_data,
)
from unlearning.errors import InputError


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
