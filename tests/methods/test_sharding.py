"""SISA: the ensemble, and what is trained again."""

from __future__ import annotations

import dataclasses
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

from support.small import blobs, poisoned_task, small_model
from unlearning import methods
from unlearning.errors import InputError
from unlearning.interop import as_logit_model, copy_model, load_model, save_model
from unlearning.methods.base import corrected_rows
from unlearning.methods.sharding import Sharding, assign_shards, combine
from unlearning.task import REMOVED, Corrections, OutcomeStatus, Split
from unlearning.training import TrainSettings


def constant_model(logits: list[float]) -> keras.Model:
    """A model that answers every one-pixel image with the same logits."""
    model = keras.Sequential([keras.Input((1, 1, 1)), keras.layers.Flatten(), keras.layers.Dense(len(logits))])
    model.set_weights([np.zeros((1, len(logits))), np.array(logits)])
    return model


def softmax(logits: list[float]) -> np.ndarray:
    return np.exp(logits) / np.exp(logits).sum()


class TestCombine:
    LOGITS = ([2.0, 1.9, 0.0], [2.0, 1.9, 0.0], [0.0, 9.0, 0.0])
    IMAGE = np.zeros((1, 1, 1, 1), np.float32)

    def scores(self, logits, aggregation) -> np.ndarray:
        return combine([constant_model(part) for part in logits], aggregation).predict(self.IMAGE, verbose=0)[0]

    def test_majority_and_mean_can_differ(self) -> None:
        mean = np.mean([softmax(part) for part in self.LOGITS], axis=0)
        np.testing.assert_allclose(self.scores(self.LOGITS, "mean"), mean, rtol=1e-5)
        votes = self.scores(self.LOGITS, "vote")
        np.testing.assert_allclose(votes, (np.array([2, 1, 0]) + mean) / 4, rtol=1e-5)
        assert (votes.argmax(), mean.argmax()) == (0, 1)

    @pytest.mark.parametrize(("second", "winner"), [([0.0, 3.0, 0.0], 1), ([0.0, 1.0, 0.0], 0)])
    def test_a_tie_goes_to_the_larger_sum(self, second: list[float], winner: int) -> None:
        scores = self.scores(([2.0, 0.0, 0.0], second), "vote")
        assert scores.argmax() == winner and scores.sum() == pytest.approx(1)

    @pytest.mark.parametrize("aggregation", ["vote", "mean"])
    def test_one_constituent_answers_for_itself(self, aggregation: str) -> None:
        np.testing.assert_allclose(self.scores([[1.0, 2.0, 0.5]], aggregation), softmax([1.0, 2.0, 0.5]), rtol=1e-5)

    @pytest.mark.parametrize("aggregation", ["vote", "mean"])
    def test_the_ensemble_is_an_ordinary_model(self, aggregation: str, tmp_path: Path) -> None:
        """Loaded in safe mode, copied, and made of nothing that a user of Keras alone lacks."""
        ensemble = combine([small_model(seed=k) for k in range(3)], aggregation)
        images = blobs(20).images
        expected = ensemble.predict(images, verbose=0)
        save_model(ensemble, tmp_path / "e.keras")
        for model in (load_model(tmp_path / "e.keras"), copy_model(ensemble), as_logit_model(ensemble)):
            np.testing.assert_allclose(model.predict(images, verbose=0), expected, atol=1e-6)
        with zipfile.ZipFile(tmp_path / "e.keras") as archive:
            config = archive.read("config.json").decode()
        assert "Lambda" not in config and "unlearning" not in config


class TestSharding:
    RECIPE = {"learning_rate": 0.01, "batch_size": 16}

    def test_shards_are_a_partition(self) -> None:
        parts = assign_shards(23, 5, seed=3)
        assert sorted(len(part) for part in parts) == [4, 4, 5, 5, 5]
        np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(23))
        assert not np.array_equal(parts[0], assign_shards(23, 5, seed=4)[0])

    @pytest.mark.slow
    def test_only_hit_shards_are_trained_again_and_exactly(self) -> None:
        """The result is that of a training in which mistakes were never made (but one, to correct): to the last bit."""
        task, true = poisoned_task(rows=60, flips=20)
        hit = np.intersect1d(assign_shards(60, 2, task.seed)[1], np.arange(20))[:4]  # wrong rows of one shard
        flagged = Corrections(hit, true[hit])
        model = small_model()  # it knows nothing, so that any training is an improvement
        method = Sharding(shards=2, epochs=12, recipe=self.RECIPE | {"learning_rate": 0.05})
        outcome = method.unlearn(model, dataclasses.replace(task, corrections=flagged))
        details = outcome.details
        assert details["affected_shards"] == [1] and details["retrained_rows"] == 30
        assert outcome.work.gradient_rows == 12 * 30
        assert details["preparation_work"]["gradient_rows"] == 12 * 60
        assert outcome.preparation_duration_s == details["preparation_duration_s"] > 0 < outcome.duration_s

        corrected = Split(task.train.images, task.train.labels.copy())
        corrected.labels[hit[1:]] = true[hit[1:]]
        last = Corrections(hit[:1], true[hit[:1]])
        never = method.unlearn(model, dataclasses.replace(task, train=corrected, corrections=last))
        assert outcome.applied and never.applied
        for a, b in zip(outcome.model.get_weights(), never.model.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)

    @pytest.mark.slow
    def test_a_shard_without_rows_drops_out(self) -> None:
        task, _ = poisoned_task(rows=60, flips=20)
        gone = assign_shards(60, 3, task.seed)[2]
        removal = Corrections(gone, np.full(len(gone), REMOVED))
        method = Sharding(shards=3, epochs=1, recipe=self.RECIPE)
        outcome = method.unlearn(small_model(), dataclasses.replace(task, corrections=removal))
        assert outcome.details["constituents"] == 2 and outcome.details["retrained_rows"] == 0
        assert outcome.work.gradient_rows == 0

    def test_nothing_flagged_prepares_nothing(self) -> None:
        task, _ = poisoned_task()
        none = Corrections(np.empty(0, np.int64), np.empty(0, np.int64))
        outcome = Sharding().unlearn(small_model(), dataclasses.replace(task, corrections=none))
        assert outcome.status is OutcomeStatus.NOTHING_FLAGGED and outcome.work.gradient_rows == 0

    @pytest.mark.parametrize(
        ("overrides", "match"),
        [({"shards": 0}, "shards"), ({"aggregation": "max"}, "aggregation"), ({"recipe": {"depth": 3}}, "recipe")],
    )
    def test_bad_input(self, overrides: dict, match: str) -> None:
        with pytest.raises(InputError, match=match):
            methods.get("sharding", overrides)

    def test_more_shards_than_rows(self) -> None:
        task, _ = poisoned_task(rows=60, flips=20)
        with pytest.raises(InputError, match="at most the 60"):
            Sharding(shards=61).unlearn(small_model(), task)

    def test_the_recipe_is_the_models_own(self) -> None:
        adapted = Sharding(shards=3).adapt(TrainSettings(epochs=7, learning_rate=0.5))
        assert (adapted.shards, adapted.settings().epochs, adapted.settings().learning_rate) == (3, 7, 0.5)

    def test_corrected_rows_of_a_part(self) -> None:
        task, true = poisoned_task(rows=30, flips=3)
        removal = dataclasses.replace(task, corrections=Corrections(np.arange(3), np.array([REMOVED, 1, 2])))
        among = np.array([0, 1, 7])
        part = corrected_rows(removal, among=among)
        assert part.labels.tolist() == [1, true[7]]
        np.testing.assert_array_equal(part.images, task.train.images[[1, 7]])
        assert not len(corrected_rows(removal, among=np.array([0])))
