"""Working with images that are read from disk."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from support.images import TRAIN
from unlearning import methods
from unlearning.data.image_files import ImageFiles
from unlearning.evaluation import accuracy, predict
from unlearning.influence.head import Head
from unlearning.influence.problem import FeatureSettings, InfluenceProblem
from unlearning.influence.rows import RowStore
from unlearning.projection.selection import select_trusted
from unlearning.task import Corrections, Split, UnlearningTask


class TestStreaming:
    """What the library does with image files equals what it does with the same images in memory, batch by batch."""

    BATCH = 512  # the largest batch of any of these passes

    @pytest.fixture
    def lazy(self, clothing: Path) -> Split:
        return Split(ImageFiles(clothing, TRAIN * 60, image_size=8), np.arange(720) % 12 % 3)

    @pytest.fixture
    def held(self, lazy: Split) -> Split:
        return Split(np.asarray(lazy.images), lazy.labels)

    @pytest.fixture
    def model(self) -> keras.Model:
        keras.utils.set_random_seed(0)
        layers = keras.layers
        return keras.Sequential(
            [
                keras.Input((8, 8, 3)),
                layers.Rescaling(1 / 255),
                layers.Conv2D(6, 3, activation="relu"),
                layers.Flatten(),
                layers.Dense(3),
            ]
        )

    @staticmethod
    def task(split: Split, corrected_images: bool) -> UnlearningTask:
        """Every second row has a wrong label; corrected images are a little different from those of training."""
        rows = np.arange(1, len(split), 2)
        given = split.labels.copy()
        given[rows] = (given[rows] + 1) % 3
        images = split.images[rows] ^ 15 if corrected_images else None
        corrections = Corrections(rows, split.labels[rows], images)
        return UnlearningTask(Split(split.images, given), corrections, split.subset(np.arange(40, 660)), 3)

    def test_a_subset_of_a_split(self, lazy: Split, held: Split, asked: list[int]) -> None:
        for rows in (np.array([4, 0, 4]), np.arange(720) % 7 == 0):
            part = lazy.subset(rows)
            assert isinstance(part.images, ImageFiles) and not asked
            np.testing.assert_array_equal(part.images, held.subset(rows).images)
            np.testing.assert_array_equal(part.labels, held.labels[rows])
            asked.clear()
        assert type(held.subset(np.array([1])).images) is np.ndarray

    def test_predictions(self, lazy: Split, held: Split, model: keras.Model, asked: list[int]) -> None:
        for batch_size in (300, 1000):
            expected = model.predict(held.images, batch_size=batch_size, verbose=0)
            np.testing.assert_array_equal(predict(model, held.images, batch_size), expected)
            asked.clear()
            np.testing.assert_array_equal(predict(model, lazy.images, batch_size), expected)
            assert max(asked) <= batch_size and sum(asked) == 720
        asked.clear()
        assert accuracy(model, lazy) == accuracy(model, held)
        assert asked == [512, 208]

    def test_memory_maps(self, held: Split, model: keras.Model, tmp_path: Path) -> None:
        np.save(tmp_path / "images.npy", held.images)
        mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
        np.testing.assert_array_equal(predict(model, mapped, 300), predict(model, held.images, 300))

    @pytest.mark.parametrize(("by", "candidates"), [("loss", None), ("loss", 600), ("curvature", 600)])
    def test_trusted_rows(
        self, lazy: Split, held: Split, model: keras.Model, asked: list[int], by: str, candidates: int | None
    ) -> None:
        options = {"count": 30, "by": by, "num_classes": 3, "candidates": candidates, "seed": 1}
        rows, _ = select_trusted(model, lazy, **options)
        assert max(asked) <= self.BATCH
        np.testing.assert_array_equal(rows, select_trusted(model, held, **options)[0])

    @pytest.mark.parametrize("cached", [True, False])
    @pytest.mark.parametrize("corrected_images", [True, False])
    def test_influence(
        self, lazy: Split, held: Split, model: keras.Model, asked: list[int], cached: bool, corrected_images: bool
    ) -> None:
        # One byte: what is not features is read batch by batch.
        settings = FeatureSettings(cache_features=cached, batch_rows=100, memory_limit_bytes=1)
        expected = InfluenceProblem(model, self.task(held, corrected_images), FeatureSettings(batch_rows=100))
        task = self.task(lazy, corrected_images)
        asked.clear()
        problem = InfluenceProblem(model, task, settings)
        at = problem.initial
        for found, wanted in (
            (problem.right_hand_side(at), expected.right_hand_side(at)),
            (problem.corrected.gradient(at), expected.corrected.gradient(at)),
        ):
            assert np.abs(wanted).max() > 0
            np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)
        assert problem.validation_score(at) == expected.validation_score(at)
        assert 0 < max(asked) <= self.BATCH

    @pytest.mark.parametrize("limit", [1, 2**30])
    @pytest.mark.parametrize("second", [np.uint8, np.float32])
    def test_stacked_rows(
        self, lazy: Split, held: Split, model: keras.Model, asked: list[int], limit: int, second: type
    ) -> None:
        head = Head(model, cache_features=False)
        other = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3)).astype(second)
        parts = [lazy.images, other[:0], other]
        store = RowStore.from_images(head, parts, memory_limit_bytes=limit)
        assert store.rows == 723 and store.in_memory == (limit > 1)
        assert bool(asked) == store.in_memory
        rows = np.array([722, 0, 719, 720, 5, 5])
        found = store.fetch(rows)
        assert found.dtype == "float32"
        np.testing.assert_array_equal(found, np.concatenate([held.images, other])[rows])

    @pytest.mark.parametrize(
        ("name", "options"),
        [
            ("second-order", {"steps": 1, "cg_iterations": 2, "power_iterations": 2, "dampings": [0.1]}),
            ("sap", {"trusted_count": 30, "alphas": [10.0, 3.0, 1.5, 1.1], "patience": 4}),
        ],
    )
    def test_methods(
        self, lazy: Split, held: Split, model: keras.Model, asked: list[int], name: str, options: dict
    ) -> None:
        method = methods.get(name, options)
        model.compile(keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        model.fit(held.images, self.task(held, False).train.labels, epochs=4, verbose=0)
        expected = method.unlearn(model, self.task(held, True))
        task = self.task(lazy, True)
        asked.clear()
        outcome = method.unlearn(model, task)
        assert sum(asked) > len(lazy) and max(asked) <= self.BATCH
        assert (outcome.status, outcome.work) == (expected.status, expected.work)
        found_scores, scores = ([row["validation_accuracy"] for row in o.history] for o in (outcome, expected))
        assert found_scores == scores and len(set(scores)) > 1
        for found, wanted in zip(outcome.model.get_weights(), expected.model.get_weights(), strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)
