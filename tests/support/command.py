"""The command line: as users call it, in a process of its own, and in this process, which is quicker by an import."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import traceback
from pathlib import Path

from click.testing import CliRunner

from support.paths import ROOT
from unlearning.cli import main

TINY = ("--train-rows", "300", "--epochs", "4", "--batch-size", "32", "--budgets", "60", "--seeds", "1")
"""The experiment of the fixture `tiny`."""
PATIENCE_S = 1800
"""What no command takes on the busiest machine; whoever waits so long waits for ever."""


def program(*arguments: object) -> list[str]:
    """Returns the command line of the real command."""
    return [sys.executable, str(ROOT / "cli.py"), *map(str, arguments)]


def process(*arguments: object, cwd: Path, **options) -> subprocess.CompletedProcess:
    """Runs the real command."""
    return subprocess.run(program(*arguments), capture_output=True, text=True, cwd=cwd, timeout=PATIENCE_S, **options)


def cli(*arguments: object, cwd: Path) -> subprocess.CompletedProcess:
    """Runs the command in this process, which `conftest.py` leaves as it was."""
    words = [str(argument) for argument in arguments]
    with contextlib.chdir(cwd):
        done = CliRunner().invoke(main, words, prog_name="cli.py", env={"TQDM_DISABLE": os.getenv("TQDM_DISABLE")})
    told = "" if done.exception is None or isinstance(done.exception, SystemExit) else _describe(done.exception)
    return subprocess.CompletedProcess(words, done.exit_code, done.stdout, done.stderr + told)


def _describe(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def assert_refused(done: subprocess.CompletedProcess, match: str) -> None:
    assert done.returncode == 2, (done.returncode, done.stderr)
    assert match in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    assert len([line for line in done.stderr.splitlines() if line.startswith("Error:")]) == 1
