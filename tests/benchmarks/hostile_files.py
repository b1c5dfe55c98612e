"""Damages files of an experiment in 300 ways each, and reads it by every command that reads.

A line a file: how many of the damages changed what each command says (a problem, an error of one line, or another
number), and the slowest of all. Any traceback, a command that takes longer than 20 s, or more than 6 GiB of memory is a
failure of the script.

    PYTHONPATH=.:tests python tests/benchmarks/hostile_files.py [--count 300] [--file NAME]
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from click.testing import CliRunner

from support.benchmarks import save
from support.mutations import FILES, make_experiment, mutate

SECONDS = 20
COMMANDS = {
    "validate": ("validate",),
    "show": ("show",),
    "compare": ("show", "--compare", "--control", "sap"),
    "export": ("export", "--out", "t.csv"),
    "report": ("report", "--images", "0", "--out", "r.html"),
    "figures": ("figures", "--out", "f"),
}


class TooSlow(BaseException):
    """A command did not end in time."""


def run(name: str, folder: Path) -> tuple[str, float]:
    """Runs a command on a folder; returns what it said and its seconds."""
    from unlearning import cli

    command, *options = COMMANDS[name]
    started = time.perf_counter()
    signal.signal(signal.SIGALRM, _late)
    signal.alarm(SECONDS)
    try:
        with contextlib.chdir(folder.parent):
            done = CliRunner().invoke(
                cli.main, [command, str(folder), *options, *(["--force"] if "--out" in options else [])]
            )
    finally:
        signal.alarm(0)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    if done.exit_code not in (0, 1, 2) or "\x1b" in done.output or "\u202e" in done.output:
        raise AssertionError((name, done.exit_code, done.output))
    return done.output, time.perf_counter() - started


def _late(*_: object) -> None:
    raise TooSlow


def attack(source: Path, name: str, count: int, commands: Sequence[str]) -> tuple[dict[str, object], list[str]]:
    """Damages one file in several ways.

    Args:
        source: The whole experiment.
        name: The file.
        count: How many.
        commands: What reads it.

    Returns:
        A line of the table, and what went wrong.
    """
    noticed: Counter[str] = Counter()
    slowest, wrong = 0.0, []
    copy = source.with_name("experiment")
    usual: dict[str, str] = {}
    for number in range(-1, count):
        shutil.copytree(source, copy)
        way = "whole" if number < 0 else mutate(copy / name, number)
        for command in commands:
            try:
                said, seconds = run(command, copy)
            except (Exception, TooSlow) as error:
                frames = traceback.extract_tb(error.__traceback__)
                ours = [frame for frame in frames if "unlearning/" in frame.filename][-1:]
                places = ", ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in [*ours, frames[-1]])
                what = f"{type(error).__name__}: {str(error)[:200]}"
                wrong.append(f"{name} {number} ({way}) {command}: {what} ({places})")
                continue
            noticed[command] += said != usual.setdefault(command, said)
            slowest = max(slowest, seconds)
        shutil.rmtree(copy)
    found = {command: noticed[command] for command in commands}
    return {"file": Path(name).name, "damages": count, **found, "slowest s": slowest}, wrong


def main() -> None:
    """Runs it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--file", default="")
    parser.add_argument("--commands", default=",".join(COMMANDS))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    os.environ["TQDM_DISABLE"] = "1"
    resource.setrlimit(resource.RLIMIT_AS, (6 * 2**30,) * 2)
    rows, wrong = [], []
    with tempfile.TemporaryDirectory() as folder:
        source = make_experiment(Path(folder, "source"))
        for name in FILES:
            if options.file in name:
                row, found = attack(source, name, options.count, options.commands.split(","))
                rows.append(row)
                wrong += found
                print(row, *found, sep="\n", flush=True)
    if wrong:
        sys.exit(f"{len(wrong)} went wrong")
    save("hostile_files", rows, out=options.out)


if __name__ == "__main__":
    main()
