"""Event files: read back by TensorBoard itself and held against logs and records."""

from __future__ import annotations

import csv
import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path

import keras
import pytest
from click.testing import CliRunner
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import cli
from support.command import cli as run
from support.grid import registered
from support.small import blobs, small_model
from unlearning.drawing.boards import write_repair
from unlearning.drawing.training_board import TrainingBoard
from unlearning.training import ShuffledBatches, TrainSettings, train

TINY = (
    *("--model", "tiny", "--train-rows", "200", "--epochs", "2", "--budgets", "40", "--seeds", "1"),
    *("--methods", "sap+second-order"),
)
LOGGED = ("--set", "sap+second-order.second-order.solver=cg")  # its iterations are


@pytest.fixture(scope="module", autouse=True)
def _tiny_architecture() -> Iterator[None]:
    with registered():
        yield


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """All scalars of a folder's event files, as (step, value) pairs, repetitions included."""
    import tensorflow as tf

    accumulator = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    accumulator.Reload()
    return {
        tag: [(event.step, float(tf.make_ndarray(event.tensor_proto))) for event in accumulator.Tensors(tag)]
        for tag in accumulator.Tags()["tensors"]
    }


class _Interrupt(keras.callbacks.Callback):
    def on_epoch_end(self, epoch: int, logs=None) -> None:
        if epoch == 4:
            raise KeyboardInterrupt


class TestTraining:
    @pytest.mark.parametrize("interrupted", [False, True])
    def test_every_epoch_once_even_after_an_interruption(self, tmp_path: Path, interrupted: bool) -> None:
        rows = blobs(64)
        settings = TrainSettings(epochs=6, batch_size=16, learning_rate=0.01)

        def fit(*more: keras.callbacks.Callback) -> None:
            train(
                small_model(),
                ShuffledBatches(rows.images, rows.labels, batch_size=16, seed=0),
                settings=settings,
                checkpoint=tmp_path / "m.keras",
                log=tmp_path / "log.csv",
                backup_dir=tmp_path / "backup",
                callbacks=[TrainingBoard(tmp_path / "board", tmp_path / "backup/log.csv"), *more],
            )

        if interrupted:
            with pytest.raises(KeyboardInterrupt):
                fit(_Interrupt())
            assert list((tmp_path / "backup").glob("state-*")), "there is something to resume from"
            assert len(scalars(tmp_path / "board/train")["epoch_loss"]) == 5
        fit()
        with (tmp_path / "log.csv").open() as file:
            log = list(csv.DictReader(file))
        found = scalars(tmp_path / "board/train")
        for name in ("loss", "accuracy"):
            steps, values = zip(*found[f"epoch_{name}"], strict=True)
            assert steps == tuple(range(6))
            assert values == pytest.approx([float(row[name]) for row in log], rel=1e-6)
        assert found["epoch_learning_rate"][-1] == (5, pytest.approx(0.01))


def test_steps_and_solves_of_a_repair(tmp_path: Path) -> None:
    history = [
        {"step": 0, "validation_accuracy": 0.5, "stage": None},
        {"step": 1, "validation_accuracy": 0.7, "damping": float("inf"), "applied": True, "why": "text"},
    ]
    log = [{"stage": "cg", "step": 1, "iteration": i, "relative_residual": 0.5**i} for i in range(3)]
    write_repair(tmp_path, history, log)
    write_repair(tmp_path, history, log)  # in place of the first
    assert scalars(tmp_path) == {
        "steps/validation_accuracy": [(0, 0.5), (1, pytest.approx(0.7))],
        "solver/cg/step_1/relative_residual": [(0, 1.0), (1, 0.5), (2, 0.25)],
    }


class TestCommands:
    @pytest.fixture(scope="class")
    def experiment(self, tmp_path_factory) -> Path:
        folder = tmp_path_factory.mktemp("boards")
        done = run("run", *TINY, *LOGGED, "--out", "e", "--tensorboard", "board", cwd=folder)
        assert done.returncode == 0, done.stderr
        return folder / "e"

    def test_folders_are_named_like_the_results(self, experiment: Path) -> None:
        board = experiment.parent / "board"
        cell = "e/budget-40/seed-1"
        folders = {p.parent.relative_to(board).as_posix() for p in board.rglob("events*")}
        assert folders == {"e/clean/seed-1/train", f"{cell}/train", f"{cell}/sap+second-order"}
        with (experiment / "budget-40/seed-1/train_log.csv").open() as file:
            log = [float(row["loss"]) for row in csv.DictReader(file)]
        assert [v for _, v in scalars(board / cell / "train")["epoch_loss"]] == pytest.approx(log, rel=1e-6)
        found = scalars(board / cell / "sap+second-order")
        record = json.loads((experiment / "budget-40/seed-1/sap+second-order/unlearning_results.json").read_text())
        kept = [(row["step"], row["validation_accuracy"]) for row in record["history"]]
        assert found["steps/validation_accuracy"] == [(step, pytest.approx(value)) for step, value in kept]
        residuals = found["solver/second-order/step_1/relative_residual"]
        assert residuals[0] == (0, 1.0) and len(residuals) == record["solves"][0]["iterations"] + 1

    def test_the_option_is_no_part_of_the_configuration(self, experiment: Path) -> None:
        before = {p: p.stat().st_mtime_ns for p in experiment.rglob("*")}
        done = run("run", *TINY, *LOGGED, "--out", "e", cwd=experiment.parent)
        assert done.returncode == 0, done.stderr
        assert {p: p.stat().st_mtime_ns for p in experiment.rglob("*")} == before
        assert "board" not in "".join(p.read_text() for p in experiment.rglob("*.json"))

    def test_unlearn_and_repair(self, experiment: Path, monkeypatch) -> None:
        monkeypatch.chdir(experiment.parent)
        monkeypatch.setenv("TQDM_DISABLE", "1")
        cell = "e/budget-40/seed-1"
        done = CliRunner().invoke(cli.main, ["unlearn", "first-order", cell, "--tensorboard", "more", "--quiet"])
        assert done.exit_code == 0, done.output
        found = scalars(Path("more", cell, "first-order"))
        assert [step for step, _ in found["steps/validation_accuracy"]] == [0, 1]
        arguments = ["--data", "digits", "--method", "sap", "--set", "trusted_count=50", "--out", "mine.keras"]
        model = ["repair", "e/clean/seed-1/best_model.keras"]
        done = CliRunner().invoke(cli.main, [*model, *arguments, "--tensorboard", "more", "--quiet"])
        assert done.exit_code == 0, done.output
        assert "steps/validation_accuracy" in scalars(Path("more/mine"))

    @pytest.mark.parametrize("arguments", [("run", *TINY), ("run", "--until", "training", *TINY[:-2])])
    def test_without_the_package_nothing_begins(self, arguments, tmp_path: Path, monkeypatch) -> None:
        real = importlib.util.find_spec
        monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "tensorboard" else real(name))
        line = [*arguments, "--out", str(tmp_path / "e"), "--tensorboard", str(tmp_path / "board")]
        done = CliRunner().invoke(cli.main, line)
        assert done.exit_code == 2 and "pip install tensorboard" in done.output
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("board", [".", "e/board", "file"])
    def test_unsuitable_folders(self, board: str, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        line = ["run", *TINY, "--out", str(tmp_path / "e"), "--tensorboard", str(tmp_path / board)]
        done = CliRunner().invoke(cli.main, line)
        assert done.exit_code == 2 and "`tensorboard`" in done.output and not (tmp_path / "e").exists()


def test_event_files_of_others_stay(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.unlearning"
    elsewhere.write_text("")
    folder = tmp_path / "board"
    folder.mkdir()
    (folder / "events.out.tfevents.1.host").write_text("")
    (folder / "events.out.tfevents.2.host.unlearning").symlink_to(elsewhere)
    kept = sorted(folder.iterdir())
    for _ in range(2):
        write_repair(folder, [{"step": 0, "loss": 1.0}])
        own = [path for path in folder.iterdir() if path not in kept]
        assert len(own) == 1 and own[0].name.endswith(".unlearning") and set(kept) < set(folder.iterdir())
    assert elsewhere.exists() and scalars(folder) == {"steps/loss": [(0, 1.0)]}
