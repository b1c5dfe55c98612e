"""A small grid: 200 digits, seven epochs, two seeds; clean models are better than poisoned ones.

Its architecture is that of another package: tests register it, processes find it by its entry point (`environment`).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from support.command import PATIENCE_S, program
from support.plugin.tiny_architecture import tiny
from unlearning.architectures import ARCHITECTURES
from unlearning.experiments.cell.settings import MethodChoice, RunSettings
from unlearning.experiments.cell.setup import Setup

SETTINGS = RunSettings(
    model="tiny",
    train_rows=200,
    epochs=7,
    batch_size=16,
    learning_rate=0.005,
    budgets=(40,),
    seeds=(1, 2),
    methods=(MethodChoice(name="first-order"),),
)
OPTIONS = (
    *("--model", "tiny", "--train-rows", "200", "--epochs", "7", "--batch-size", "16", "--learning-rate", "0.005"),
    *("--budgets", "40", "--seeds", "1,2", "--methods", "first-order"),
)


@contextlib.contextmanager
def registered() -> Iterator[None]:
    """Has the architecture `tiny` in this process."""
    if "tiny" in ARCHITECTURES:
        yield
        return
    ARCHITECTURES.register("tiny", tiny)
    yield
    ARCHITECTURES.remove("tiny")


def environment() -> dict[str, str]:
    """Variables of a process that finds the architecture `tiny`."""
    paths = (str(Path(__file__).parent / "plugin"), os.environ.get("PYTHONPATH", ""))
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def setup(folder: Path, **changes) -> Setup:
    return Setup(SETTINGS.changed(output=folder, **changes))


def start(folder: Path, *options: str) -> subprocess.Popen:
    command = program("run", *OPTIONS, "--out", folder, *options)
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())


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
