"""The controls in an experiment, and what experiments have recorded of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from support.paths import kept
from unlearning import methods
from unlearning.errors import InputError
from unlearning.evaluation import label_loss, membership_auc, predict, probabilities
from unlearning.experiments.cell.folder import clean_of
from unlearning.experiments.cell.line import run_grid
from unlearning.experiments.cell.settings import MethodChoice, RunSettings
from unlearning.experiments.cell.setup import Setup
from unlearning.interop import load_model
from unlearning.noise import Corruption, corrupt_alike
from unlearning.records import (
    PoisonConfig,
    TrainConfig,
    UnlearnConfig,
    UnlearningResults,
    config_hash,
    read_json,
)
from unlearning.streams import stream_seed
from unlearning.training import TrainSettings


class TestKeptResults:
    FILES = kept("unlearning_results.json")

    def test_still_validate_and_keep_their_hashes(self) -> None:
        assert self.FILES
        for path in self.FILES:
            results = read_json(path, UnlearningResults)
            cell = path.parent.parent
            clean_files = clean_of(cell.parent.parent, results.seed)
            clean, train = (
                read_json(clean_files.config, TrainConfig),
                read_json(cell / "train_config.json", TrainConfig),
            )
            poison = read_json(cell / "poison_config.json", PoisonConfig)
            config = read_json(path.parent / "unlearn_config.json", UnlearnConfig)
            assert results.config_hash == config_hash(clean, train, poison, config), path

    def test_hyperparameters_of_finished_controls_are_those_of_today(self) -> None:
        """Otherwise `run` would refuse the folders that are kept; one name means another thing since version 0.1."""
        constant = {"schedule": "constant", "learning_rates": (1e-3, 3e-4, 1e-4)}
        for name, meant in (("fine-tuning", constant), ("retraining-unflagged", {})):
            for path in kept(f"{name}/unlearn_config.json"):
                there = json.loads(path.read_text())["hyperparameters"]
                train = read_json(path.parent.parent / "train_config.json", TrainConfig)
                recipe = train.model_dump(exclude={"schema_version", "data", "model", "deterministic", "seed"})
                assert methods.get(name, meant).adapt(TrainSettings(**recipe)).config() == there, path


class TestExperiment:
    CHOICES = (
        MethodChoice(name="fine-tuning", overrides={"seconds": "like:retraining", "epochs": 3}),
        MethodChoice(name="sharding", overrides={"shards": 2, "aggregation": "mean", "epochs": 1}),
        MethodChoice(name="ssd", overrides={"shares": (0.01,), "trainable_from": "logits"}),
        MethodChoice(name="retraining", overrides={"epochs": 5}),
    )

    @staticmethod
    def settings(folder: Path, choices: tuple[MethodChoice, ...]) -> RunSettings:
        recipe = {"epochs": 3, "batch_size": 8, "learning_rate": 5e-3, "validation": "clean", "model": "tiny"}
        return RunSettings(train_rows=240, budgets=(80,), seeds=(1,), methods=choices, output=folder / "e", **recipe)

    @pytest.fixture(scope="class")
    def finished(self, tmp_path_factory) -> tuple[Setup, list[UnlearningResults]]:
        experiment = Setup(self.settings(tmp_path_factory.mktemp("controls"), self.CHOICES))
        return experiment, run_grid(experiment)

    def test_the_order_asked_for_and_equal_time(self, finished) -> None:
        _, results = finished
        assert [r.method for r in results] == ["fine-tuning", "sharding", "ssd", "retraining"]
        tuned, retrained = results[0], results[3]
        assert tuned.config.hyperparameters["seconds"] == "like:retraining"
        assert tuned.details["seconds"] == retrained.unlearning_duration_s

    def test_scores_are_those_of_the_stored_models(self, finished) -> None:
        """Disagreement and membership, recomputed from the files by plain calls."""
        experiment, results = finished
        cell = experiment.folder / "budget-80/seed-1"
        data = experiment.data
        corruption = Corruption.load(cell / "corruption.npz")
        bad = corruption.apply(data.train).subset(corruption.rows)
        alike = corrupt_alike(
            corruption, data.test, num_classes=10, seed=stream_seed(1, "held-out noise"), data_name=data.name
        )
        held_out = alike.apply(data.test).subset(alike.rows)
        assert len(held_out) and (held_out.labels != data.test.labels[alike.rows]).all()
        retrained = results[3]
        assert retrained.applied and retrained.disagreement_after is None and retrained.disagreement_reference is None
        reference = predict(
            load_model(cell / "retraining-clean-validation/repaired_model.keras"), data.test.images
        ).argmax(-1)
        before = load_model(cell / "poisoned_model.keras")
        for result in results:
            after = load_model(cell / f"{result.method}-clean-validation/repaired_model.keras")
            for model, when in ((before, "before"), (after, "after")):
                classes = predict(model, data.test.images).argmax(-1)
                losses = [label_loss(probabilities(predict(model, s.images)), s.labels) for s in (bad, held_out)]
                scores = result.model_dump()
                assert scores[f"membership_auc_{when}"] == pytest.approx(membership_auc(*losses))
                recall = np.mean(classes[data.test.labels == 3] == 3)
                assert scores[f"class_report_{when}"]["3"]["recall"] == pytest.approx(recall)
                if result is not retrained:
                    assert result.disagreement_reference == "retraining"
                    assert scores[f"disagreement_{when}"] == pytest.approx(np.mean(classes != reference))

    def test_preparation_is_not_unlearning(self, finished) -> None:
        sharded = finished[1][1]
        assert sharded.details["affected_shards"] == [0, 1] and sharded.details["training_rows"] == 240
        assert sharded.n_gradients == 240 == sharded.details["preparation_work"]["gradient_rows"]
        assert sharded.details["preparation_duration_s"] > 0 and sharded.unlearning_cpu_s > 0

    def test_found_again(self, finished) -> None:
        experiment, results = finished
        assert run_grid(Setup(experiment.settings)) == results

    def test_a_result_that_is_not_there_is_refused_before_anything_is_written(self, tmp_path: Path) -> None:
        choice = MethodChoice(name="fine-tuning", overrides={"seconds": "like:second-order"})
        with pytest.raises(InputError, match="second-order"):
            run_grid(Setup(self.settings(tmp_path, (choice, MethodChoice(name="second-order")))))
        with pytest.raises(InputError, match="letters"):
            unsafe = MethodChoice(name="fine-tuning", overrides={"seconds": "like:../../up"})
            run_grid(Setup(self.settings(tmp_path, (unsafe,))))
        assert not list(tmp_path.iterdir())
