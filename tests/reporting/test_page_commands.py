"""The commands on the report page are those that made the results."""

from __future__ import annotations

import shlex
from pathlib import Path

from support.paths import KEPT
from support.report_pages import write_page
from support.report_trees import change, make_tree
from unlearning.cli import experiments
from unlearning.experiments.cell.repairing import repair_hash
from unlearning.experiments.cell.rows import Cell
from unlearning.experiments.cell.settings import MethodChoice, RunSettings
from unlearning.experiments.cell.setup import Setup
from unlearning.experiments.results.reader import read_folders
from unlearning.records import UnlearningResults
from unlearning.repairs.settings import DetectSettings
from unlearning.reporting.page.commands import reproduce


def _recorded() -> list[tuple[Path, UnlearningResults]]:
    """One repair of each method and variant among the measured ones."""
    found = {(e.experiment, e.name): e for e in read_folders(KEPT, strict=True).repairs()}
    return [(e.folder, e.results) for e in found.values() if isinstance(e.results, UnlearningResults)]


class TestCommands:
    def test_they_are_what_made_the_recorded_results(self) -> None:
        """Read back as the command line reads it, every command asks for the configuration on record."""
        from unlearning.records import PoisonConfig, TrainConfig, TrainResults, config_hash, read_json

        recorded = _recorded()
        assert len(recorded) > 40
        for folder, results in recorded:
            place = folder.parent
            train, poison = (
                read_json(place / "train_config.json", TrainConfig),
                read_json(place / "poison_config.json", PoisonConfig),
            )
            words = shlex.split(reproduce("e", train, poison, results.config))
            assert words[:3] == ["python", "cli.py", "run"]
            with experiments.run.make_context("run", words[3:]) as context:
                setup = Setup(experiments._settings(context.params))
            (planned,) = setup.repairs
            assert planned.config(results.seed) == results.config, folder
            assert setup.settings.seeds == (results.seed,)
            if setup.settings.labels_file is None:
                there = Setup(setup.settings.changed(output=place.parent.parent))  # with the clean model of version 0.1
                cell = Cell(there, results.budget, results.seed)
                assert repair_hash(cell, planned) == results.config_hash, folder
                trained = read_json(place / "train_results.json", TrainResults)
                assert config_hash(train, poison) == trained.config_hash

    def test_detected_rows(self, tmp_path: Path) -> None:
        choice = MethodChoice(name="second-order", overrides={"steps": 2}, variant="mine")
        detect = DetectSettings(detector="neighbours", options={"share": 0.3}, suspects="remove", rounds=2)
        settings = RunSettings(budgets=(60,), seeds=(3,), methods=(choice,), detect=detect, validation="clean")
        setup = Setup(settings)
        config = setup.repairs[0].config(3)
        line = reproduce("e", setup.train_config(3), setup.poison_config(60, 3), config)
        with experiments.run.make_context("run", shlex.split(line)[3:]) as context:
            again = Setup(experiments._settings(context.params))
        assert again.repairs[0].config(3) == config

    def test_what_was_not_asked_for_is_not_said(self) -> None:
        """How images are resized is an option of folders; digits have none to resize."""
        setup = Setup(RunSettings(budgets=(60,), seeds=(3,), methods=(MethodChoice(name="sap"),)))
        line = reproduce("e", setup.train_config(3), setup.poison_config(60, 3), setup.repairs[0].config(3))
        assert "interpolation" not in line and "aspect" not in line

    def test_unknown_methods_have_a_reason(self, tmp_path: Path) -> None:
        tree = make_tree(tmp_path / "e", (1000,), (42,), ("sap",))
        path = tree / "budget-1000/seed-42/sap/unlearn_config.json"
        change(path, method="magic")
        assert "No command: Invalid value for argument `method`" in write_page(tree, tmp_path / "1.html")[0].replace(
            "&#39;", "'"
        )
