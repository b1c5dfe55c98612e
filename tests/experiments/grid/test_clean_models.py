"""Each seed has a clean model: trained once, whoever asks for it, and the one that its cells are compared with."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from support.command import PATIENCE_S, program
from support.grid import SETTINGS, copy, environment, setup
from support.paths import PUBLISHED
from support.trees import contents
from unlearning.errors import InputError
from unlearning.experiments.cell import folder as layout
from unlearning.experiments.cell.line import write_configs
from unlearning.experiments.cell.reopening import recorded_settings, reopen
from unlearning.experiments.cell.settings import MethodChoice
from unlearning.experiments.cell.setup import Setup
from unlearning.experiments.cell.training import find_clean
from unlearning.experiments.grid import cells, sweep, workers
from unlearning.experiments.results.compare import compare_methods
from unlearning.experiments.results.export import tidy_row
from unlearning.experiments.results.reader import read_folders
from unlearning.experiments.results.validate import validate_folders
from unlearning.interop import load_model
from unlearning.records import (
    PoisonConfig,
    TrainConfig,
    TrainResults,
    UnlearnConfig,
    UnlearningResults,
    config_hash,
    read_json,
    write_json,
)
from unlearning.reporting.page.gather import gather
from unlearning.reporting.tables import format_plan, format_results


def record(folder: Path, seed: int) -> UnlearningResults:
    return read_json(folder / f"budget-40/seed-{seed}/first-order/unlearning_results.json", UnlearningResults)


class TestEachSeed:
    def test_restored_shares_by_hand(self, undisturbed: Path) -> None:
        """From the stored weights: (after - before) / (clean - before), of models of one seed."""
        data = setup(undisturbed).data
        clean = []
        for seed in (1, 2):
            cell = undisturbed / f"budget-40/seed-{seed}"
            paths = (
                undisturbed / f"clean/seed-{seed}/best_model.keras",
                cell / "poisoned_model.keras",
                cell / "first-order/repaired_model.keras",
            )
            predictions = [np.asarray(load_model(path)(data.test.images)).argmax(-1) for path in paths]
            best, before, after = (float(np.mean(found == data.test.labels)) for found in predictions)
            results = record(undisturbed, seed)
            assert (results.acc_clean, results.acc_before_fix, results.acc_after_fix) == pytest.approx(
                (best, before, after)
            )
            assert results.acc_perc_restored == pytest.approx((after - before) / (best - before))
            clean.append(best)
        assert clean[0] != clean[1], "or this test could not tell whose clean model was used"

    def test_clean_and_poisoned_model_differ_in_the_labels_only(self, undisturbed: Path) -> None:
        for seed in (1, 2):
            clean, poisoned = undisturbed / f"clean/seed-{seed}", undisturbed / f"budget-40/seed-{seed}"
            assert (clean / "train_config.json").read_text() == (poisoned / "train_config.json").read_text()
            assert read_json(clean / "train_config.json", TrainConfig).seed == seed
            assert read_json(clean / "train_results.json", TrainResults).corrupted_rows == 0

    def test_everything_that_reads_uses_the_seeds_own(self, undisturbed: Path) -> None:
        tree = read_folders([undisturbed], strict=True)
        (found,) = tree.experiments
        own = {seed: read_json(undisturbed / f"clean/seed-{seed}/train_results.json", TrainResults) for seed in (1, 2)}
        assert {seed: model.results for seed, model in found.clean.items()} == own
        assert [model.layout.folder.name for model in tree.trainings()] == ["seed-1", "seed-2"] * 2
        assert gather([undisturbed]).experiments[0].clean == own
        accuracies = [own[seed].accuracy for seed in (1, 2)]
        repairs = tree.repairs()
        assert [tidy_row(repair)["acc_clean"] for repair in repairs] == accuracies
        shares = [repair.ours.acc_perc_restored for repair in repairs if repair.ours is not None]
        (compared,) = compare_methods(repairs, "first-order").methods
        assert compared.model_extra is not None
        assert compared.model_extra["acc_perc_restored"].mean == pytest.approx(np.mean(shares))
        mean, std = 100 * np.mean(accuracies), 100 * np.std(accuracies, ddof=1)
        ours = [repair.ours for repair in repairs if repair.ours is not None]
        summary = format_results(ours, width=140).split("Mean")[1]
        assert f"{mean:.1f} ± {std:.1f}" in summary and "clean" in summary
        assert validate_folders([undisturbed]).problems == []

    def test_a_part_knows_its_own(self, undisturbed: Path) -> None:
        for part in ("budget-40/seed-2", "clean/seed-2"):
            (found,) = read_folders([undisturbed / part], strict=True).experiments
            assert list(found.clean) == [2] and found.clean[2].config is not None and found.clean[2].config.seed == 2
            assert validate_folders([undisturbed / part]).problems == []

    def test_other_recipes_for_other_seeds_are_refused(self, undisturbed: Path, tmp_path: Path) -> None:
        """A new seed has folders of its own, where nothing stands that would contradict."""
        copy(undisturbed, tmp_path / "e")
        with pytest.raises(InputError, match=r"epochs \(7 there, 4 now\)"):
            sweep.sweep(setup(tmp_path / "e", seeds=(3,), epochs=4))
        assert contents(tmp_path / "e") == contents(undisturbed)


class TestTrainedOnce:
    def test_a_removed_one_is_trained_again_and_no_other(
        self, undisturbed: Path, reference: dict[str, str], tmp_path: Path
    ) -> None:
        folder = tmp_path / "e"
        copy(undisturbed, folder, without=("clean/seed-2",))
        before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
        found = sweep.plan(setup(folder))
        assert found.clean == {1: True, 2: False} and [cell.done for cell in found.cells] == [True, False]
        assert found.seconds == pytest.approx(found.training.seconds)
        assert "clean models: 1 of 2 done; cells: 1 of 2 done" in format_plan(found)
        assert len(sweep.sweep(setup(folder)).results) == 2
        assert contents(folder) == reference
        assert {path: path.stat().st_mtime_ns for path in before} == before

    @pytest.mark.slow
    def test_by_one_of_two_workers(self, tmp_path: Path) -> None:
        settings = SETTINGS.changed(output=tmp_path / "e", budgets=(20, 40), seeds=(1,), methods=(), model="cnn_small")
        pool = workers.LocalPool(settings, 2, 1)
        try:
            outcomes = [event[1] for event in pool.run([(20, 1), (40, 1)]) if event is not None]
        finally:
            pool.close()
        assert [outcome.failure for outcome in outcomes] == [None, None]
        assert sum(outcome.clean_s > 0 for outcome in outcomes) == 1
        assert all(state.done for state in sweep.scan(Setup(settings)).values())

    @pytest.mark.slow
    def test_by_one_of_two_commands(self, tmp_path: Path) -> None:
        settings = SETTINGS.changed(output=tmp_path / "e", budgets=(20, 40), seeds=(1,))
        write_configs(Setup(settings))
        processes = [
            subprocess.Popen(
                program("unlearn", "first-order", f"e/budget-{budget}/seed-1"),
                cwd=tmp_path,
                env=environment(),
                stderr=subprocess.PIPE,
                text=True,
            )
            for budget in (20, 40)
        ]
        told = [process.communicate(timeout=PATIENCE_S)[1] for process in processes]
        assert [process.returncode for process in processes] == [0, 0], told
        assert "".join(told).count("[1/2] clean model") == 1, told
        assert all(state.done for state in sweep.scan(Setup(settings)).values())

    def test_waiting_is_left_to_those_who_have_nothing_else_to_do(self, tmp_path: Path) -> None:
        experiment = setup(tmp_path / "e")
        with cells.lock_clean(experiment.folder, 1), pytest.raises(cells.LockedError, match="clean-seed-1"):
            cells.train_clean(experiment, 1, timeout=0)
        assert not (tmp_path / "e/clean").exists()

    def test_progress_counts_them(self, undisturbed: Path, tmp_path: Path, monkeypatch) -> None:
        """A cell of 10 s, 4 of them for a clean model: what is left is a cell of 6 s and a clean model of 4 s."""
        copy(undisturbed, tmp_path / "e", without=("clean", "budget-40"))
        experiment = setup(tmp_path / "e")
        now = 100.0
        monkeypatch.setattr(sweep.time, "perf_counter", lambda: now)
        progress = sweep._Progress(experiment, sweep.scan(experiment))
        try:
            now += 10
            path = layout.clean_of(tmp_path / "e", 1).results
            path.parent.mkdir(parents=True)
            path.touch()
            progress.count((40, 1), cells.CellOutcome(10.0, clean_s=4.0))
            assert progress._text(()) == "cells: 1/2 done, 0 failed, clean models: 1/2, about 10 s left"
        finally:
            progress.close()


class TestVersion01:
    """One clean model for all seeds, right in `clean/`, trained with the seed of the data."""

    def test_committed_results_are_found_again(self) -> None:
        paths = sorted(PUBLISHED.rglob("unlearning_results.json"))
        assert len(paths) > 100
        for path in paths:
            cell = reopen(path.parent.parent)
            clean, results = find_clean(cell.setup, cell.seed), read_json(path, UnlearningResults)
            config = read_json(path.with_name("unlearn_config.json"), UnlearnConfig)
            assert clean is not None and clean.accuracy == pytest.approx(results.acc_clean)
            own = cell.seed if not layout.has_one_clean(cell.setup.folder) else 42
            assert cell.setup.clean_config(cell.seed).seed == own
            configs = (cell.setup.clean_config(cell.seed), cell.train_config, cell.poison_config, config)
            assert config_hash(*configs) == results.config_hash, path

    def test_a_run_has_nothing_to_do_in_them(self) -> None:
        folders = sorted({path.parents[3] for path in PUBLISHED.glob("**/digits-*/**/sap/unlearning_results.json")})
        assert len(folders) == 7
        for folder in folders:
            cell = folder / "budget-314/seed-42"
            kept = recorded_settings(
                read_json(cell / "train_config.json", TrainConfig), read_json(cell / "poison_config.json", PoisonConfig)
            )
            made_by = read_json(cell / "sap/unlearn_config.json", UnlearnConfig)
            choice = MethodChoice(name="sap", overrides=made_by.hyperparameters)
            there = Setup(kept.changed(seeds=(42, 43, 44), methods=(choice,), output=folder))
            states = sweep.scan(there)
            assert len(states) == 3 and all(state.done for state in states.values()), folder
            assert there.clean_seeds == (42,)

    def test_what_is_added_keeps_the_one_clean_model(self, tmp_path: Path) -> None:
        folder = tmp_path / "e"
        old = setup(folder, seeds=(1,))
        write_json(folder / "clean/train_config.json", old.train_config(42))  # as far as its `configs` went
        assert next(path.relative_to(folder).as_posix() for path in write_configs(old)) == "clean/train_config.json"
        assert sweep.plan(setup(folder)).clean == {1: False}
        assert len(sweep.sweep(old).results) == 1
        trained = {path: path.read_bytes() for path in (folder / "clean").iterdir()}
        assert len(sweep.sweep(setup(folder)).results) == 2
        assert {path: path.read_bytes() for path in (folder / "clean").iterdir()} == trained
        accuracy = read_json(folder / "clean/train_results.json", TrainResults).accuracy
        assert [record(folder, seed).acc_clean for seed in (1, 2)] == [accuracy, accuracy]
        report = validate_folders([folder])
        assert report.problems == []
        (found,) = read_folders([folder], strict=True).experiments
        assert {model.layout.folder.name for model in found.clean.values()} == {"clean"}

    def test_both_kinds_in_one_folder_are_a_contradiction(self, undisturbed: Path, tmp_path: Path) -> None:
        folder = tmp_path / "e"
        copy(undisturbed, folder)
        config = json.loads((folder / "clean/seed-1/train_config.json").read_text())
        (folder / "clean/train_config.json").write_text(json.dumps(config | {"seed": 42}))
        with pytest.raises(InputError, match="another configuration"):
            sweep.sweep(setup(folder))
        messages = [problem.message for problem in validate_folders([folder]).problems]
        assert sum("holds a clean model of all seeds" in message for message in messages) == 2

    def test_a_clean_model_of_another_seed(self, undisturbed: Path, tmp_path: Path) -> None:
        folder = tmp_path / "e"
        copy(undisturbed, folder)
        (folder / "clean/seed-2").rename(folder / "clean/seed-3")
        found = [(problem.kind, problem.message) for problem in validate_folders([folder]).problems]
        assert ("path", "it is of seed 2") in found and any(kind == "hash" for kind, _ in found)
        with pytest.raises(InputError, match=r"seed \(2 there, 3 now\)"):
            sweep.sweep(setup(folder))
