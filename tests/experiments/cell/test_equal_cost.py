"""Controls cost what they are compared with: the same recipe, the same steps, the same time."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from support.paths import FIXTURES
from unlearning.errors import InputError
from unlearning.experiments.cell.folder import MethodFiles
from unlearning.experiments.cell.line import run_grid
from unlearning.experiments.cell.repairing import awaited_duration, find_repaired
from unlearning.experiments.cell.rows import Cell
from unlearning.experiments.cell.settings import MethodChoice, RunSettings
from unlearning.experiments.cell.setup import Setup
from unlearning.training import fit

CONSTANT = {"schedule": "constant", "learning_rates": (1e-3, 3e-4, 1e-4)}
"""What `fine-tuning` meant in version 0.1."""


@pytest.mark.parametrize(
    ("schedule", "objective", "monitor"),
    [("cosine", "cross-entropy", "loss"), pytest.param("constant", "mixup", "last", marks=pytest.mark.slow)],
)
def test_retraining_is_the_training_of_the_poisoned_model_on_other_rows(
    schedule: str, objective: str, monitor: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One schedule, one choice of the epoch; as many steps as the rows have batches, where the schedule ends."""
    compile_model, seen = fit.compile_model, []

    def compile_and_note(model: Any, data: Any, settings: Any, loss: Any) -> None:
        compile_model(model, data, settings, loss)
        steps = settings.epochs * len(data)
        falling = getattr(model.optimizer._learning_rate, "decay_steps", None)
        assert falling == (steps if schedule == "cosine" else None)
        seen.append((settings, steps))

    monkeypatch.setattr(fit, "compile_model", compile_and_note)
    recipe = {"model": "tiny", "epochs": 3, "batch_size": 32, "schedule": schedule, "objective": objective}
    choices = (MethodChoice(name="retraining"), MethodChoice(name="retraining-unflagged"))
    settings = RunSettings(train_rows=200, budgets=(80,), seeds=(1,), methods=choices, output=tmp_path / "e", **recipe)
    run_grid(Setup(settings))
    (_, clean), (poisoned, steps), (retrained, same), (without, fewer) = seen
    assert poisoned == retrained == without and poisoned.monitor == monitor
    assert clean == steps == same == 3 * 7 and fewer == 3 * 4


def test_a_control_for_equal_time_is_not_given_the_shared_detection(tmp_path: Path) -> None:
    """The control's own record counts the detection, too."""
    for name, detection in (("plain", {}), ("detected", {"detection_duration_s": 8.0, "detection_cpu_s": 15.0})):
        source = FIXTURES / "cifar10-20000-cnn_small-flip-pairs/budget-4000/seed-42/second-order"
        content = json.loads((source / "unlearning_results.json").read_text())
        content |= {"unlearning_duration_s": 10.0, "unlearning_cpu_s": 18.0}
        content["details"] = {"detection": detection} if detection else {}
        files = MethodFiles(tmp_path / name)
        files.folder.mkdir()
        files.results.write_text(json.dumps(content))
        cell: Any = SimpleNamespace(files=SimpleNamespace(folder=tmp_path), setup=SimpleNamespace(folder=tmp_path))
        planned: Any = SimpleNamespace(beside=lambda folder, name, files=files: files)
        assert awaited_duration(cell, planned, "second-order") == ((2.0, 3.0) if detection else (10.0, 18.0))


def test_fine_tuning_of_version_0_1_is_found_as_what_it_was(tmp_path: Path) -> None:
    recipe = {"model": "tiny", "train_rows": 100, "epochs": 2, "batch_size": 50}
    settings = RunSettings(budgets=(20,), seeds=(1,), output=tmp_path / "e", **recipe)
    old = settings.changed(methods=(MethodChoice(name="fine-tuning", overrides=CONSTANT),))
    (done,) = run_grid(Setup(old))
    recorded = done.config.hyperparameters
    assert not {"schedule", "batch_norm_rows", "cpu_seconds"} & set(recorded), "version 0.1 has no such fields"
    setup = Setup(old)
    assert find_repaired(Cell(setup, 20, 1), setup.repairs[0]) == done
    new = Setup(settings.changed(methods=(MethodChoice(name="fine-tuning"),)))
    with pytest.raises(InputError, match=r"schedule \(None there, 'linear' now\)"):
        find_repaired(Cell(new, 20, 1), new.repairs[0])
