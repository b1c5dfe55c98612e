"""What a terminal shows: tables of at most 100 columns, JSON where it is asked for, and nothing else."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

import cli
from support.command import process
from support.grid import environment, registered
from support.paths import FIXTURES
from unlearning import methods
from unlearning.experiments.cell.choices import PlannedRepair
from unlearning.experiments.cell.settings import MethodChoice
from unlearning.experiments.grid.plan import CellState, Estimate, Plan
from unlearning.experiments.results.compare import compare_methods
from unlearning.experiments.results.reader import read_folders
from unlearning.records import DetectionMetrics, DetectionResults, TrainResults, read_json
from unlearning.reporting import tables

EXPERIMENT = FIXTURES / "cifar10-20000-cnn_small-symmetric"
WIDTH = 100
TINY = ("--model", "tiny", "--train-rows", "200", "--epochs", "1", "--budgets", "40", "--out", "e")


def command(*arguments: object, cwd: Path) -> subprocess.CompletedProcess:
    """Runs the command as a user would: nothing in the environment quietens TensorFlow."""
    noisy = {k: v for k, v in environment().items() if not k.startswith(("TF_CPP", "GRPC", "ABSL", "TQDM"))}
    return process(*arguments, cwd=cwd, env=noisy)


def assert_narrow(text: str) -> None:
    assert text and not text.endswith("\n\n")
    wide = [line for line in text.splitlines() if len(line) > WIDTH]
    assert not wide, wide


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A finished run of two seeds, with all that it printed."""
    folder = tmp_path_factory.mktemp("terminal")
    done = command("run", *TINY, "--seeds", "1,2", "--methods", "sap", "--quiet", cwd=folder)
    (folder / "out").write_text(done.stdout)
    (folder / "err").write_text(done.stderr)
    assert done.returncode == 0, done.stderr
    return folder


class TestNoNoise:
    @pytest.mark.slow
    def test_a_run_in_two_processes(self, tmp_path: Path) -> None:
        done = command("run", *TINY, "--seeds", "1,2", "--methods", "sap", "--workers", "2", "--quiet", cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")

    def test_a_run(self, folder: Path) -> None:
        """TensorFlow, its device libraries and its logging system would each print on standard error."""
        assert (folder / "err").read_text() == ""
        lines = (folder / "out").read_text().splitlines()
        assert lines[0].startswith("budget 40, told ") and lines[1].split()[:2] == ["seed", "method"], lines[:2]
        assert lines[-1] == "Files: e"
        assert_narrow((folder / "out").read_text())

    def test_progress_and_nothing_else(self, folder: Path) -> None:
        """Here the process that prints computes, too, up to its end."""
        done = command("unlearn", "first-order", "e/budget-40/seed-1", cwd=folder)
        assert done.returncode == 0 and done.stdout.split()[:2] == ["budget", "seed"]
        shown = done.stderr.splitlines()
        assert shown[0] == "starting TensorFlow ..."
        assert shown[1] == "[2/2] first-order (budget 40, seed 1)", "the clean model is there"
        assert shown[-1].startswith("first-order: ") and "validation:" in shown[-1], "what came of it"
        assert all(line.startswith("[2/2] first-order") for line in shown[2:-1]), shown

    @pytest.mark.parametrize(
        "arguments",
        [
            ("show", "e"),
            ("show", "e", "--compare", "--control", "sap"),
            ("validate", "e"),
            ("export", "e", "--out", "results.csv"),
        ],
        ids=lambda arguments: arguments[0],
    )
    def test_other_commands(self, folder: Path, arguments: tuple) -> None:
        done = command(*arguments, cwd=folder)
        assert (done.returncode, done.stderr) == (0, "")
        assert_narrow(done.stdout)


class TestJson:
    @pytest.mark.parametrize(
        ("arguments", "key"),
        [
            (("show", "e"), "acc_after_fix"),
            (("show", "e", "--compare", "--control", "sap"), "methods"),
            (("validate", "e"), "problems"),
            (("run", "--until", "training", *TINY, "--seeds", "1"), "test_loss"),
            (("run", *TINY, "--seeds", "1", "--methods", "sap"), "acc_after_fix"),
            (("run", *TINY, "--seeds", "1,3", "--methods", "sap", "--dry-run"), "memory_bytes"),
            (("detect", "e/budget-40/seed-1", "--out", "found.csv", "--quiet"), "suspects"),
            (
                (
                    "repair",
                    "e/clean/seed-1/best_model.keras",
                    "--data=digits",
                    "--method=sap",
                    "--out=mine.keras",
                    "--quiet",
                ),
                "test_accuracy_after",
            ),
        ],
        ids=lambda value: value if isinstance(value, str) else value[0],
    )
    def test_every_command_with_results(self, folder: Path, monkeypatch, arguments: tuple, key: str) -> None:
        monkeypatch.chdir(folder)
        monkeypatch.setenv("TQDM_DISABLE", "1")
        with registered():
            done = CliRunner().invoke(cli.main, [*map(str, arguments), "--json"])
        assert done.exit_code == 0, done.output
        content = json.loads(done.stdout)
        assert key in (content[0] if isinstance(content, list) else content)


class TestWidth:
    """Tables of extreme records: long names, many digits."""

    def test_results_and_comparison(self) -> None:
        entries = read_folders([EXPERIMENT], strict=True).repairs()
        long = "second-order-lissa-uncached-" + 60 * "x"
        renamed = [
            entry.results.model_copy(
                update={
                    "budget": 10**6,
                    "seed": 2**31 - 1 - entry.seed,
                    "variant": long,
                    "acc_perc_restored": -123.4,
                    "unlearning_duration_s": 123456.7,
                    "work": entry.results.work.model_copy(update={"gradient_rows": 10**9, "curvature_rows": 10**10}),
                }
            )
            for entry in entries
        ]
        assert_narrow(tables.format_results(renamed))
        assert_narrow(tables.format_entries(entries))
        assert_narrow(tables.format_comparison(compare_methods(entries, "second-order")))

    def test_training(self) -> None:
        results = read_json(EXPERIMENT / "clean/train_results.json", TrainResults)
        large = results.model_copy(update={"rows": 10**7, "corrupted_rows": 10**6, "time": 123456.7})
        assert_narrow(tables.format_training([(80 * "x" + "/seed-1", large)]))

    def test_detection(self) -> None:
        metrics = DetectionMetrics(precision=1.0, recall=1.0, f1=1.0, auroc=1.0, average_precision=1.0)
        result = DetectionResults.model_construct(
            detector="k-nearest-neighbours-ensemble",
            rows=1_000_000,
            suspects=250_000,
            suspect_share=0.25,
            threshold=-1.234e-5,
            status="collapsed_mixture",
            metrics=metrics,
            bad_rows=200_000,
        )
        assert_narrow(tables.format_detection(result))

    def test_plan(self) -> None:
        lissa = methods.get("second-order-lissa")
        choices = [MethodChoice(name="second-order-lissa", variant=str(n)) for n in range(8)]
        planned = [PlannedRepair(choice, lissa, "", "noisy") for choice in choices]
        cell = CellState(10**6, 2**31 - 1, None, None, tuple((one, None) for one in planned), True)
        estimates = {one.label: Estimate(123456.7, False) for one in planned}
        plan = Plan({cell.seed: False}, (cell,), Estimate(1e5, True), estimates, 10**11)
        assert_narrow(tables.format_plan(plan, workers=64))
