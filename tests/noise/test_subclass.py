"""Noise on fine classes."""

from __future__ import annotations

import numpy as np
import pytest

from support.noise import make
from unlearning.errors import InputError
from unlearning.noise import corrupt_alike
from unlearning.noise.kinds.subclass import moved_subclasses
from unlearning.task import Split


class TestSubclassDominant:
    @staticmethod
    def make_rows(rows: int, seed: int = 0) -> tuple[Split, np.ndarray]:
        """Four classes of five subclasses each; subclass `f` is in class `f % 4`."""
        fine = np.random.default_rng(seed).permutation(np.arange(rows) % 20)
        return Split(np.zeros((rows, 1, 1, 1)), fine % 4), fine

    def test_one_subclass_of_every_class_is_moved(self) -> None:
        split, fine = self.make_rows(1000)
        corruption = make("subclass-dominant", split, budget=120, num_classes=4, fine_labels=fine)
        rows = corruption.rows
        assert len(rows) == 120 and corruption.kind == "subclass-dominant"
        assert set(fine[rows]) == {0, 1, 2, 3}, "the first subclass of each class"
        np.testing.assert_array_equal(corruption.given_labels[rows], (split.labels[rows] + 1) % 4)
        assert moved_subclasses(split.labels, fine, 4) == {0: 1, 1: 2, 2: 3, 3: 0}
        other = make("subclass-dominant", split, budget=120, num_classes=4, fine_labels=fine, seed=1)
        assert other.rows.tolist() != rows.tolist() and set(fine[other.rows]) == {0, 1, 2, 3}

    def test_a_map_chooses_other_subclasses(self) -> None:
        split, fine = self.make_rows(1000)
        options = {"num_classes": 4, "fine_labels": fine}
        chosen = make("subclass-dominant", split, budget=50, label_map={17: 3}, **options)
        assert set(fine[chosen.rows]) == {17} and set(chosen.given_labels[chosen.rows]) == {3}
        for wrong in ({17: 1}, {17: 4}):
            with pytest.raises(InputError, match="label_map"):
                make("subclass-dominant", split, budget=50, label_map=wrong, **options)

    @pytest.mark.parametrize("budget", [100, 200])
    def test_other_rows_are_corrupted_alike(self, budget: int) -> None:
        """At the largest budget all moved rows are wrong, however many of them the other rows happen to have."""
        (split, fine), (other, other_fine) = self.make_rows(1000), self.make_rows(1000, seed=1)
        kept = np.flatnonzero((other_fine > 3) | (np.arange(1000) % 9 > 0))
        other, other_fine = other.subset(kept), other_fine[kept]
        corruption = make("subclass-dominant", split, budget=budget, num_classes=4, fine_labels=fine)
        moved = moved_subclasses(split.labels, fine, 4)
        for label_map in (None, moved):
            alike = corrupt_alike(corruption, other, num_classes=4, seed=5, label_map=label_map, fine_labels=other_fine)
            assert alike.budget == min(round(budget * len(other) / 1000), (other_fine < 4).sum())
            assert set(other_fine[alike.rows]) == {0, 1, 2, 3}

    def test_impossible_requests(self) -> None:
        split, fine = self.make_rows(100)

        def fails(match: str, **options) -> None:
            with pytest.raises(InputError, match=match):
                make("subclass-dominant", split, **{"num_classes": 4, "fine_labels": fine, "budget": 5, **options})

        fails("this data set has none", fine_labels=None)
        fails("this data set has none", fine_labels=None, label_map={1: 2})
        fails("at most 20", budget=21)
        fails("100 integers", fine_labels=fine[:-1])
        fails("100 integers", fine_labels=fine / 2)
        fails("within one class", fine_labels=fine // 4)
