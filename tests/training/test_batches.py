"""Batches whose order depends on seed and epoch alone."""

from __future__ import annotations

import numpy as np
import pytest

from unlearning.errors import InputError
from unlearning.training import (
    ShuffledBatches,
)
from unlearning.training.batches import shift_and_mirror


class TestShuffledBatches:
    def test_every_row_once_an_epoch_in_an_order_of_seed_and_epoch(self) -> None:
        images = np.arange(10, dtype=np.float32).reshape(10, 1, 1, 1)
        batches = ShuffledBatches(images, np.arange(10), batch_size=4, seed=3)
        epochs = []
        for _ in range(2):
            parts = [batches[i] for i in range(len(batches))]
            for x, y in parts:
                np.testing.assert_array_equal(x[:, 0, 0, 0], y)
            epochs.append(np.concatenate([y for _, y in parts]))
            batches.on_epoch_end()
        assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(10))
        assert list(epochs[0]) != list(epochs[1])
        again = ShuffledBatches(images, np.arange(10), batch_size=4, seed=3, epoch=1)
        np.testing.assert_array_equal(np.concatenate([again[i][1] for i in range(3)]), epochs[1])

    def test_augmentation_moves_pixels_and_is_repeatable(self) -> None:
        images = np.random.default_rng(0).integers(1, 255, (6, 9, 9, 3)).astype(np.uint8)
        options = {"batch_size": 6, "seed": 1, "augment": True}
        one, two = (ShuffledBatches(images, np.arange(6), **options)[0] for _ in range(2))
        np.testing.assert_array_equal(one[0], two[0])
        assert (one[0] != images[one[1]]).any() and one[0].dtype == np.uint8

    def test_shift_and_mirror_keeps_content(self) -> None:
        """Every output is one of the 81 shifts of the padded image, mirrored or not."""
        image = np.random.default_rng(1).integers(1, 255, (1, 5, 6, 1))
        padded = np.pad(image[0], ((4, 4), (4, 4), (0, 0)))
        options = [padded[i : i + 5, j : j + 6][:, ::s] for i in range(9) for j in range(9) for s in (1, -1)]
        seen = set()
        for seed in range(40):
            out = shift_and_mirror(image, np.random.default_rng(seed))[0]
            matches = [n for n, o in enumerate(options) if np.array_equal(o, out)]
            assert matches
            seen.add(matches[0])
        assert len(seen) > 20

    @pytest.mark.parametrize("options", [{"batch_size": 0}, {"labels": np.arange(3)}])
    def test_bad_input(self, options: dict) -> None:
        with pytest.raises(InputError):
            ShuffledBatches(np.zeros((4, 2, 2, 1)), options.pop("labels", np.arange(4)), **options)
