"""Training recipes: what they fill in, what wins over them, and that old records keep their hashes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.command import assert_refused, cli
from support.paths import kept
from unlearning.errors import InputError
from unlearning.experiments.cell.line import write_configs
from unlearning.experiments.cell.reopening import reopen
from unlearning.experiments.cell.settings import MethodChoice, RunSettings
from unlearning.experiments.cell.setup import Setup
from unlearning.experiments.cell.training import ensure_clean
from unlearning.methods.retraining import Retraining
from unlearning.records import DataConfig, PoisonConfig, TrainConfig, config_hash, read_json, write_json
from unlearning.training import TrainSettings
from unlearning.training.recipes import RECIPES, fill

PREACT = {
    "model": "preact_resnet18",
    "optimizer": "sgd",
    "nesterov": False,
    "learning_rate": 0.01,
    "weight_decay": 5e-4,
    "batch_size": 128,
    "epochs": 201,
    "schedule": "step",
    "milestones": [100],
    "decay": 0.1,
    "augment": True,
}
PLAIN = {
    "data": DataConfig(dataset="digits", data_seed=42),
    "model": "cnn_small",
    "epochs": 3,
    "batch_size": 128,
    "learning_rate": 1e-3,
    "optimizer": "adam",
    "schedule": "constant",
    "weight_decay": 0.0,
    "augment": False,
    "mixed_precision": False,
    "deterministic": False,
    "seed": 42,
}


class TestFill:
    def test_explicit_options_win(self) -> None:
        options = {"epochs": 2, "batch_size": 30, "nesterov": True, "milestones": None}
        filled = fill("preact-sgd", options, explicit={"epochs"})
        assert filled == {**PREACT, "milestones": (100,), "epochs": 2}
        assert options["batch_size"] == 30, "not changed"
        assert fill("default", options, explicit=set()) == options

    def test_what_needs_another_setting_goes_with_it(self) -> None:
        options = {"schedule": "cosine", "milestones": None, "decay": 0.1, "optimizer": "adam", "nesterov": True}
        filled = fill("preact-sgd", options, explicit={"schedule", "optimizer"})
        assert {key: filled[key] for key in options} == options
        TrainSettings(
            epochs=filled["epochs"], schedule="cosine", milestones=filled["milestones"] or (), decay=filled["decay"]
        )

    def test_unknown(self) -> None:
        with pytest.raises(InputError, match="preact-sgd"):
            fill("best", {}, explicit=set())

    def test_every_recipe_is_made_of_settings(self) -> None:
        for recipe in RECIPES.values():
            RunSettings(**recipe)


class TestRecords:
    def test_plain_settings_leave_no_trace(self, tmp_path: Path) -> None:
        """Folders from before there were such fields must keep their hashes."""
        plain = TrainConfig(**PLAIN)
        assert not {"milestones", "decay", "nesterov"} & set(plain.model_dump())
        assert "labels_sha256" not in PoisonConfig(noise="pair", budget=5, seed=1).model_dump()
        configs = [
            plain,
            TrainConfig(**{**PLAIN, "schedule": "step", "milestones": (3,), "decay": 0.1}),
            TrainConfig(**{**PLAIN, "schedule": "step", "milestones": (3,), "decay": 0.5}),
            TrainConfig(**{**PLAIN, "schedule": "step", "milestones": (3, 7)}),
            TrainConfig(**{**PLAIN, "optimizer": "sgd"}),
            TrainConfig(**{**PLAIN, "optimizer": "sgd", "nesterov": False}),
        ]
        assert len({config_hash(config) for config in configs}) == len(configs)
        poisons = [PoisonConfig(noise="recorded", budget=5, seed=1, labels_sha256=h * 64) for h in ("a", "b")]
        assert config_hash(poisons[0]) != config_hash(poisons[1])
        for config in (*configs, *poisons):
            write_json(tmp_path / "c.json", config)
            assert read_json(tmp_path / "c.json", type(config)) == config

    def test_hashes_are_those_of_kept_folders(self) -> None:
        """Every kept training's hash is recomputed from its configuration files."""
        checked = 0
        for path in kept("train_results.json"):
            configs = [read_json(path.with_name("train_config.json"), TrainConfig)]
            poison = path.with_name("poison_config.json")
            configs += [read_json(poison, PoisonConfig)] if poison.is_file() else []
            assert json.loads(path.read_text())["config_hash"] == config_hash(*configs), path
            checked += 1
        assert checked > 10

    def test_retraining_records_new_fields_only_where_they_are_used(self) -> None:
        plain = Retraining().adapt(TrainSettings(epochs=4)).config()["recipe"]
        assert not {"milestones", "decay", "nesterov"} & set(plain)
        step = TrainSettings(epochs=4, schedule="step", milestones=(2,), optimizer="sgd", nesterov=False)
        adapted = Retraining().adapt(step)
        assert adapted.config()["recipe"]["milestones"] == [2] and adapted.config()["recipe"]["nesterov"] is False
        again = Retraining(**adapted.config()).settings()
        assert (again.schedule, tuple(again.milestones), again.nesterov) == ("step", (2,), False)

    def test_a_grid_with_a_recipe_is_claimed_twice(self, tmp_path: Path) -> None:
        recipe = {key: tuple(value) if isinstance(value, list) else value for key, value in PREACT.items()}
        methods = (MethodChoice(name="retraining"),)
        settings = RunSettings(**recipe, budgets=(20,), output=tmp_path / "e", methods=methods)
        assert write_configs(Setup(settings)) == write_configs(Setup(settings))


class TestCommandLine:
    def test_configs_of_the_recipe(self, tmp_path: Path) -> None:
        done = cli(
            "run",
            "--until",
            "configs",
            "--recipe",
            "preact-sgd",
            "--methods",
            "first-order",
            "--out",
            "e",
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stderr
        config = json.loads((tmp_path / "e/clean/seed-42/train_config.json").read_text())
        assert {key: config[key] for key in PREACT} == PREACT

    def test_explicit_options_win_and_a_training_follows_them(self, tmp_path: Path) -> None:
        """Even those that equal a default, and even switches."""
        options = ("--model", "cnn_small", "--epochs", "2", "--no-augment", "--nesterov", "--milestones", "1")
        rest = ("--train-rows", "200", "--budgets", "40", "--seeds", "1", "--out", "e")
        done = cli("run", "--until", "training", "--recipe", "preact-sgd", *options, *rest, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        config = json.loads((tmp_path / "e/clean/seed-1/train_config.json").read_text())
        changed = {"model": "cnn_small", "epochs": 2, "augment": False, "milestones": [1]}
        expected = {**PREACT, **changed}
        del expected["nesterov"]
        assert {key: config[key] for key in expected} == expected and "nesterov" not in config
        setup = reopen(tmp_path / "e/budget-40/seed-1").setup
        assert ensure_clean(setup, 1).epochs_for_min in (1, 2), "found again from its configuration files"

    @pytest.mark.parametrize(
        ("arguments", "match"),
        [
            (("--recipe", "best"), "preact-sgd"),
            (("--schedule", "step", "--milestones", "soon"), "numbers"),
            (("--milestones", "5"), "milestones"),
        ],
    )
    def test_bad_input(self, tmp_path: Path, arguments: tuple[str, ...], match: str) -> None:
        assert_refused(cli("run", "--until", "training", *arguments, cwd=tmp_path), match)
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize(
        ("options", "match"),
        [
            ({"milestones": (5,)}, "milestones"),
            ({"schedule": "step"}, "milestones"),
            ({"decay": 0.5}, "decay"),
            ({"schedule": "step", "milestones": (5,), "decay": 2.0}, "decay"),
            ({"nesterov": False}, "nesterov"),
        ],
    )
    def test_settings_without_effect_are_refused(self, tmp_path: Path, options: dict, match: str) -> None:
        with pytest.raises(InputError, match=match):
            write_configs(Setup(RunSettings(**options, output=tmp_path / "e")))
        assert not list(tmp_path.iterdir())
