"""Trusted rows: lowest losses, flattest losses, or a draw."""

from __future__ import annotations

import itertools
from typing import Any

import keras
import numpy as np
import pytest

from support.projection import (
    Stranger,
    linear,
    random_split,
    softmax,
)
from support.small import blobs
from unlearning.errors import InputError
from unlearning.influence.pixels import curvature
from unlearning.projection.selection import cross_entropy, select_trusted
from unlearning.task import Split, WorkCount


class TestSelection:
    def test_loss_of_the_given_label(self) -> None:
        model, split = linear(), random_split()
        expected = -np.log(softmax(model, split.images)[np.arange(40), split.labels])
        np.testing.assert_allclose(cross_entropy(model, split), expected, rtol=1e-4)
        np.testing.assert_allclose(
            cross_entropy(linear(softmax=True), split), cross_entropy(model, split), rtol=1e-4, atol=1e-6
        )

    def test_a_hopeless_row_has_a_finite_loss(self) -> None:
        model = linear(softmax=True)
        model.set_weights([np.zeros((4, 3)), np.array([0.0, 500.0, 0.0])])
        losses = cross_entropy(model, random_split())
        assert np.isfinite(losses).all() and losses.max() > 100

    def test_lowest_losses(self) -> None:
        model, split = linear(), random_split()
        losses = -np.log(softmax(model, split.images)[np.arange(40), split.labels])
        rows, work = select_trusted(model, split, count=7, balanced=False, num_classes=3)
        np.testing.assert_array_equal(rows, np.sort(np.argsort(losses)[:7]))
        assert rows.dtype == np.int64 and work == WorkCount(forward_rows=40)

    def test_lowest_losses_of_every_class(self) -> None:
        model, split = linear(), random_split()
        losses = -np.log(softmax(model, split.images)[np.arange(40), split.labels])
        rows, _ = select_trusted(model, split, count=9, num_classes=3)
        expected: list[int] = []
        for label in range(3):
            members = np.flatnonzero(split.labels == label)
            expected.extend(members[np.argsort(losses[members])[:3]])
        np.testing.assert_array_equal(rows, np.sort(expected))
        unbalanced, _ = select_trusted(model, split, count=9, balanced=False, num_classes=3)
        assert not np.array_equal(rows, unbalanced)

    @pytest.mark.parametrize(("count", "per_class"), [(9, [4, 4, 1]), (30, [19, 10, 1]), (2, [1, 1, 0])])
    def test_full_classes_fill_up_for_short_ones(self, count: int, per_class: list[int]) -> None:
        labels = np.repeat([0, 1, 2], [25, 10, 1])
        split = Split(random_split(36).images, labels)
        model = linear()
        if count == 2:  # the class with the worst of three bests goes without
            model.set_weights([np.zeros((4, 3)), np.array([2.0, 1.0, 0.0])])
        rows, _ = select_trusted(model, split, count=count, num_classes=3)
        assert len(rows) == count
        assert np.bincount(labels[rows], minlength=3).tolist() == per_class

    def test_ties_go_to_the_earlier_row(self) -> None:
        model = linear()
        model.set_weights([np.zeros((4, 3)), np.zeros(3)])
        split = Split(random_split(8).images, np.array([0, 0, 0, 1, 0, 2, 1, 2]))
        assert select_trusted(model, split, count=3, balanced=False, num_classes=3)[0].tolist() == [0, 1, 2]
        assert select_trusted(model, split, count=3, num_classes=3)[0].tolist() == [0, 3, 5]
        assert select_trusted(model, split, count=5, num_classes=3)[0].tolist() == [0, 1, 3, 5, 6]

    def test_more_than_there_are(self) -> None:
        rows, _ = select_trusted(linear(), random_split(), count=1000, num_classes=3)
        np.testing.assert_array_equal(rows, np.arange(40))

    def test_given_labels_decide(self) -> None:
        model, split = linear(), random_split()
        first, _ = select_trusted(model, split, count=9, num_classes=3)
        wrong = split.labels.copy()
        wrong[first] = softmax(model, split.images[first]).argmin(1)
        second, _ = select_trusted(model, Split(split.images, wrong), count=9, balanced=False, num_classes=3)
        assert not set(first) & set(second)

    def test_candidates_limit_the_pool(self) -> None:
        model, split = linear(), random_split()
        losses = -np.log(softmax(model, split.images)[np.arange(40), split.labels])
        pool, work = select_trusted(model, split, count=20, candidates=20, num_classes=3)
        assert len(set(pool)) == 20 and work == WorkCount(forward_rows=20)
        rows, work = select_trusted(model, split, count=5, candidates=20, balanced=False, num_classes=3)
        np.testing.assert_array_equal(rows, np.sort(pool[np.argsort(losses[pool])[:5]]))
        assert work == WorkCount(forward_rows=20)
        other, _ = select_trusted(model, split, count=20, candidates=20, num_classes=3, seed=1)
        assert not np.array_equal(pool, other)
        everything, work = select_trusted(model, split, count=5, candidates=99, balanced=False, num_classes=3)
        assert work == WorkCount(forward_rows=40)
        np.testing.assert_array_equal(everything, np.sort(np.argsort(losses)[:5]))

    def test_random_is_reproducible_and_blind(self) -> None:
        split = random_split()
        draws = [
            select_trusted(model, split, count=12, by="random", num_classes=3, seed=seed)
            for model, seed in ((linear(), 0), (linear(seed=5), 0), (linear(), 1))
        ]
        np.testing.assert_array_equal(draws[0][0], draws[1][0])
        assert not np.array_equal(draws[0][0], draws[2][0])
        assert draws[0][1] == WorkCount()
        assert np.bincount(split.labels[draws[0][0]]).tolist() == [4, 4, 4]
        assert len(set(draws[0][0])) == 12

    @staticmethod
    def _turns(model: keras.Model, split: Split, signs: np.ndarray) -> np.ndarray:
        """The float64 norm of the change of every row's gradient along one sign vector."""
        kernel = model.get_weights()[0].astype(np.float64)
        flat = split.images.reshape(len(split), -1).astype(np.float64)
        step = 2.5e-4 * max(float(split.images[:256].max()), 1)
        true = np.eye(kernel.shape[1])[split.labels]
        here, there = (
            (softmax(model, inputs.reshape(split.images.shape)) - true) @ kernel.T
            for inputs in (flat, flat + step * signs.reshape(1, -1))
        )
        return np.linalg.norm(there - here, axis=1)

    def test_curvature_of_one_pixel(self) -> None:
        """On one pixel the sign of the step makes no difference to speak of, so the score has one right value."""
        model, split = linear(side=1, scale=3), random_split(30, side=1)
        expected = self._turns(model, split, np.ones(1))
        scores = curvature(model, split)
        np.testing.assert_allclose(scores, expected, rtol=0.02, atol=2e-6)
        # Per row, not divided by the size of the batch: a short last batch is no exception.
        np.testing.assert_allclose(curvature(model, split, batch_size=29), scores, rtol=0.02, atol=2e-6)

    def test_curvature_of_several_pixels_lies_between_the_extremes(self) -> None:
        model, split = linear(scale=2), random_split(30)
        turns = [self._turns(model, split, np.array(signs)) for signs in itertools.product([-1.0, 1.0], repeat=4)]
        scores = curvature(model, split)
        assert (scores >= 0.97 * np.min(turns, axis=0) - 2e-6).all()
        assert (scores <= 1.03 * np.max(turns, axis=0) + 2e-6).all()
        assert np.corrcoef(scores, np.mean(turns, axis=0))[0, 1] > 0.8

    def test_flattest_rows_are_chosen(self) -> None:
        model, split = linear(side=1, scale=3), random_split(30, side=1)
        expected = self._turns(model, split, np.ones(1))
        rows, work = select_trusted(model, split, count=8, by="curvature", balanced=False, num_classes=3)
        assert work == WorkCount(gradient_rows=30 * 11)
        assert set(rows) <= set(np.argsort(expected)[:10])

    def test_curvature_depends_on_pixel_range_and_seed(self) -> None:
        split = random_split(20)
        model = linear()
        assert not np.array_equal(curvature(model, split, seed=0), curvature(model, split, seed=1))
        np.testing.assert_array_equal(curvature(model, split, seed=1), curvature(model, split, seed=1))
        bytes_ = Split(255 * np.abs(split.images), split.labels)
        scaled = linear()
        kernel, bias = scaled.get_weights()
        scaled.set_weights([kernel / 255, bias])
        # Steps grow, gradients shrink with the range of the pixels: the ranking must not notice.
        unit = curvature(model, Split(np.abs(split.images), split.labels))
        order = np.corrcoef(curvature(scaled, bytes_), unit)[0, 1]
        assert order > 0.99

    @pytest.mark.parametrize("by", ["loss", "curvature", "random"])
    def test_probabilities_and_logits_choose_alike(self, by) -> None:
        split = random_split()
        chosen = [
            select_trusted(linear(softmax=outputs), split, count=9, by=by, num_classes=3)[0]
            for outputs in (True, False)
        ]
        np.testing.assert_array_equal(chosen[0], chosen[1])

    @pytest.mark.parametrize("by", ["loss", "curvature"])
    def test_a_subclassed_model(self, by) -> None:
        keras.utils.set_random_seed(0)
        model, split = Stranger(), blobs(30)
        model.build(split.images.shape)
        plain = keras.Sequential(
            [keras.Input((6, 6, 1)), keras.layers.Flatten(), keras.layers.Dense(8, "relu"), keras.layers.Dense(3)]
        )
        plain.set_weights([*model.hidden.get_weights(), *model.out.get_weights()])
        np.testing.assert_array_equal(
            select_trusted(model, split, count=9, by=by, num_classes=3)[0],
            select_trusted(plain, split, count=9, by=by, num_classes=3)[0],
        )

    @pytest.mark.parametrize(
        ("arguments", "match"),
        [
            ({"count": 0}, "trusted_count"),
            ({"count": 5, "candidates": 4}, "candidates"),
            ({"by": "lowest"}, "selection"),
        ],
    )
    def test_bad_input(self, arguments: dict[str, Any], match: str) -> None:
        with pytest.raises(InputError, match=match):
            select_trusted(linear(), random_split(), **{"num_classes": 3, **arguments})

    def test_an_empty_split(self) -> None:
        with pytest.raises(InputError, match="train"):
            select_trusted(linear(), Split(np.empty((0, 2, 2, 1)), np.empty(0, np.int64)), num_classes=3)

    def test_curvature_of_a_nested_softmax(self) -> None:
        flat = linear(side=1, scale=3, softmax=True)
        inputs = keras.Input((1, 1, 1))
        nested = keras.Model(inputs, linear(side=1, scale=3, softmax=True)(inputs))
        split = random_split(30, side=1)
        np.testing.assert_allclose(curvature(nested, split), curvature(flat, split), rtol=0.1, atol=1e-5)
