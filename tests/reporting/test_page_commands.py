"""The commands on the report page are those that made the results."""

from __future__ import annotations

import shlex
from pathlib import Path

from unlearning.experiments.cell.run import Experiment, MethodChoice, Settings

import cli
from support.report_pages import write_page
from support.report_trees import MODELS, change, make_tree
from unlearning.experiments.results.reader import read_folders
from unlearning.records import UnlearningResults
from unlearning.reporting.page.commands import reproduce


def _recorded() -> list[tuple[Path, UnlearningResults]]:
    """One repair of each method and variant among the measured ones."""
    found = {(e.experiment, e.name): e for e in read_folders([MODELS], strict=True).entries()}
    return [(e.folder, e.results) for e in found.values() if isinstance(e.results, UnlearningResults)]


def _without_sweep(parameters: dict) -> dict:
    """The options of `run` that describe an experiment."""
    apart = {"workers", "threads", "executor", "address", "shard", "wait", "dry_run", "as_json", "quiet"}
    return {name: value for name, value in parameters.items() if name not in apart}


class TestCommands:
    def test_they_are_what_made_the_recorded_results(self) -> None:
        """Read back as the command line reads it, every command asks for the configuration on record."""
        from unlearning.records import PoisonConfig, TrainConfig, TrainResults, config_hash, read_json

        recorded = _recorded()
        assert len(recorded) > 40
        for folder, results in recorded:
            cell = folder.parent
            train, poison = (
                read_json(cell / "train_config.json", TrainConfig),
                read_json(cell / "poison_config.json", PoisonConfig),
            )
            words = shlex.split(reproduce("e", train, poison, results.config))
            assert words[:3] == ["python", "cli.py", "run"]
            with cli.run.make_context("run", words[3:]) as context:
                experiment = cli._experiment(_without_sweep(context.params))
            (choice,) = experiment.settings.methods
            assert experiment.unlearn_config(choice, results.seed) == results.config, folder
            assert experiment.settings.seeds == (results.seed,)
            if experiment.settings.labels_file is None:
                assert experiment._repair_hash(results.budget, results.seed, choice) == results.config_hash, folder
                trained = read_json(cell / "train_results.json", TrainResults)
                assert config_hash(train, poison) == trained.config_hash

    def test_detected_rows(self, tmp_path: Path) -> None:
        from unlearning.experiments.cell.run import DetectChoice

        choice = MethodChoice("second-order", (("steps", 2),), "mine")
        detect = DetectChoice("neighbours", (("share", 0.3),), "remove", 2)
        settings = Settings(budgets=(60,), seeds=(3,), methods=(choice,), detect=detect, validation="clean")
        config = Experiment(settings).unlearn_config(choice, 3)
        experiment = Experiment(settings)
        line = reproduce("e", experiment._train_config(3), experiment._poison_config(60, 3), config)
        with cli.run.make_context("run", shlex.split(line)[3:]) as context:
            again = cli._experiment(_without_sweep(context.params))
        assert again.unlearn_config(again.settings.methods[0], 3) == config

    def test_unknown_methods_have_a_reason(self, tmp_path: Path) -> None:
        tree = make_tree(tmp_path / "e", (1000,), (42,), ("sap",))
        path = tree / "budget-1000/seed-42/sap/unlearn_config.json"
        change(path, method="magic")
        assert "No command: Invalid value for argument `method`" in write_page(tree, tmp_path / "1.html")[0].replace(
            "&#39;", "'"
        )
