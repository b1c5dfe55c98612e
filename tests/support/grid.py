"""A small grid: 200 digits, six epochs, two seeds; clean models are better than poisoned ones."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from support.command import PATIENCE_S, program
from unlearning.experiments.cell.settings import MethodChoice, RunSettings
from unlearning.experiments.cell.setup import Setup

SETTINGS = RunSettings(
    train_rows=200, epochs=6, batch_size=16, budgets=(40,), seeds=(1, 2), methods=(MethodChoice(name="first-order"),)
)
OPTIONS = (
    *("--train-rows", "200", "--epochs", "6", "--batch-size", "16", "--budgets", "40"),
    *("--seeds", "1,2", "--methods", "first-order"),
)


def setup(folder: Path, **changes) -> Setup:
    return Setup(SETTINGS.changed(output=folder, **changes))


def start(folder: Path, *options: str) -> subprocess.Popen:
    command = program("run", *OPTIONS, "--out", folder, *options)
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(condition: Callable[[], bool], process: subprocess.Popen) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.02)


def under_way(folder: Path) -> bool:
    """Whether a cell has finished an epoch of training."""
    return any(folder.glob("budget-40/seed-*/backup/state-*"))


def owner(lock: Path) -> int:
    try:
        return json.loads(lock.read_text())["pid"]
    except (FileNotFoundError, ValueError):
        return 0


def copy(source: Path, target: Path, without: tuple[str, ...] = ()) -> None:
    shutil.copytree(source, target)
    for name in without:
        shutil.rmtree(target / name)
