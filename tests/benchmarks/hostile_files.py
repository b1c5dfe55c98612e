"""Damages a file of every kind that is read in 300 ways each, and reads it by every command that reads it.

A line a file: how many damages were refused (by one line and exit code 2, or by a problem that `validate` names), how
many were read as something else, and how many as if nothing had happened; the slowest command, and the most memory that
one took beyond what the process had. A traceback, a crash, more than 20 s of processor time, 300 s, or 2 GiB, a file
that is changed, lost, or left behind by a command that failed, or anything but one line of an error is a failure of the
script. Commands that draw or train are run on one of twenty damages (or ten) where quicker ones read the same file.
With `--file` or `--group`, the other lines stay as they were.

    PYTHONPATH=.:tests python tests/benchmarks/hostile_files.py [--count 300] [--file NAME,...] [--group NAME,...]
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import importlib
import json
import os
import pkgutil
import resource
import shutil
import signal
import stat
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

from click.testing import CliRunner

from support.batches import TooSlow, peak, reset_peak, run_batches
from support.benchmarks import RESULTS, save
from support.hostile_inputs import GROUPS, Group
from support.mutations import mutate

PROCESSOR_S, SECONDS = 20, 300
BYTES = 2 * 2**30
WHOLE = -1
"""The number of the file as it was."""


@dataclasses.dataclass
class Said:
    """What became of one damage.

    Attributes:
        way: What was done, in words.
        said: Exit code and words, by command.
        wrong: What must not be.
        seconds: Processor seconds of the slowest command.
        memory: The most bytes that a command took.
    """

    way: str = ""
    said: dict[str, tuple[int, str]] = dataclasses.field(default_factory=dict)
    wrong: list[str] = dataclasses.field(default_factory=list)
    seconds: float = 0.0
    memory: int = 0


def attack(group: Group, source: Path, name: str, numbers: Sequence[int]) -> Iterator[Said]:
    """Damages one file and reads it, once a number; runs in a process of its own.

    Args:
        group: Whose file it is, and what reads it.
        source: A folder with all of its files, which is copied.
        name: The file.
        numbers: Which damages.

    Yields:
        What became of each.
    """
    _quicken()
    opened = _who_opens(group, source, name)
    for number in numbers:
        found = Said()
        world, out = source.with_name("world"), source.with_name("out")
        for place in (world, out):
            shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(source, world, symlinks=True)
        found.way = "whole" if number == WHOLE else mutate(world / name, number)
        for key, command in group.commands.items():
            slow = command.every > 1 and any(other.every == 1 and opened[k] for k, other in group.commands.items())
            if opened[key] and (number == WHOLE or not (slow and number % command.every)):
                _command(found, key, [word.format(out=out) for word in command.words], world, out)
        if number == WHOLE:
            found.wrong += [f"{key}: {text}" for key, (code, text) in found.said.items() if code and key != "validate"]
        yield found


def _make(group: Group, source: Path, _: Sequence[int]) -> Iterator[bool]:
    """Makes a group's files, in a process of its own."""
    group.make(source)
    yield True


def _command(found: Said, key: str, words: list[str], world: Path, out: Path) -> None:
    """Runs a command and notes what it said, and what it must not have done."""
    from unlearning import cli

    out.mkdir()
    before, held, started = _files(world), reset_peak(), time.process_time()
    signal.setitimer(signal.ITIMER_PROF, PROCESSOR_S)
    signal.alarm(SECONDS)  # what waits takes no processor time
    try:
        with contextlib.chdir(world):
            done = CliRunner().invoke(cli.main, words)
        error = None if isinstance(done.exception, SystemExit) else done.exception
    except TooSlow as late:
        done, error = None, late
    finally:
        signal.alarm(0)
        signal.setitimer(signal.ITIMER_PROF, 0)
    seconds, memory = time.process_time() - started, peak() - held
    found.seconds, found.memory = max(found.seconds, seconds), max(found.memory, memory)
    written = [path for path in out.rglob("*") if path.is_file()]
    wrong = []
    if error is not None or done is None:
        frames = traceback.extract_tb(error.__traceback__) if error is not None else []
        ours = [frame for frame in frames if "unlearning/" in frame.filename][-1:]
        places = ", ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in [*ours, *frames[-1:]])
        wrong.append(f"{type(error).__name__}: {' '.join(str(error).split())[:200]} ({places})")
    else:
        errors = [line for line in done.output.splitlines() if line.startswith("Error: ")]
        if done.exit_code not in (0, 1, 2) or (done.exit_code == 2) != (len(errors) == 1) or len(errors) > 1:
            wrong.append(f"exit code {done.exit_code} and {len(errors)} lines of errors: {done.output[-300:]!r}")
        if "Traceback" in done.output or "\x1b" in done.output or "\u202e" in done.output or not done.output.strip():
            wrong.append(f"it said {done.output[-300:]!r}")
        if done.exit_code == 2 and written:
            wrong.append(f"it failed and left {', '.join(path.name for path in written)}")
        if done.exit_code == 0 and any("{out}" in word or str(out) in word for word in words) and not written:
            wrong.append("it wrote nothing")
        found.said[key] = done.exit_code, done.output
    if memory > BYTES:
        wrong.append(f"{memory / 2**20:.0f} MiB")
    if any(path.stat().st_size == 0 or ".partial-" in path.name for path in written):
        wrong.append(f"unfinished files: {', '.join(path.name for path in written)}")
    after = _files(world)
    if after != before:
        changed = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
        wrong.append(f"changed: {', '.join(changed)[:200]}")
    found.wrong += [f"{key}: {text}" for text in wrong]
    shutil.rmtree(out)


def _files(folder: Path) -> dict[str, tuple[int, ...]]:
    """What is in a folder: kind, size and time of every file; of folders, that they are there."""
    found = {}
    for path in (Path(parent) / name for parent, folders, names in os.walk(folder) for name in [*folders, *names]):
        there = path.lstat()
        own = () if stat.S_ISDIR(there.st_mode) else (there.st_size, there.st_mtime_ns)
        found[str(path.relative_to(folder))] = (there.st_mode, *own)
    return found


def _who_opens(group: Group, source: Path, name: str) -> dict[str, bool]:
    """Which of a group's commands open a file while it is whole."""
    opened: set[str] = set()

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open":
            opened.add(str(arguments[0]))

    sys.addaudithook(hook)
    found = {}
    world, out = source.with_name("world"), source.with_name("out")
    for key, command in group.commands.items():
        shutil.rmtree(world, ignore_errors=True)
        shutil.copytree(source, world)
        opened.clear()
        _command(Said(), key, [word.format(out=out) for word in command.words], world, out)
        found[key] = any(path.endswith(name) for path in opened)
    assert any(found.values()), f"no command opens {name}"
    return found


def _quicken() -> None:
    """Draws for fewer dots, and a chart of the page once for the same numbers: both are tested elsewhere."""
    from unlearning.drawing import canvas
    from unlearning.reporting.page import charts, render

    canvas.PAPER_DPI = 30
    drawn: dict[str, bytes] = {}
    original = charts.draw_static

    def once(rows):
        key = repr(rows)
        if key not in drawn:
            drawn[key] = original(rows)
        return drawn[key]

    render.draw_static = once


def describe(name: str, commands: Sequence[str], results: dict[int, Said]) -> dict[str, object]:
    """Returns a line of the table."""
    whole = results[WHOLE].said
    refused = read_otherwise = same = 0
    read_by = [key for key in commands if any(key in found.said for n, found in results.items() if n != WHOLE)]
    for number, found in results.items():
        if number == WHOLE:
            continue
        if any(code == 2 or (code == 1 and (code, text) != whole[key]) for key, (code, text) in found.said.items()):
            refused += 1
        elif any(said != whole[key] for key, said in found.said.items()):
            read_otherwise += 1
        else:
            same += 1
    return {
        "file": name,
        "read_by": ", ".join(read_by),
        "damages": len(results) - 1,
        "refused": refused,
        "read_otherwise": read_otherwise,
        "read_the_same": same,
        "slowest_processor_s": max(found.seconds for found in results.values()),
        "most_MiB": max(found.memory for found in results.values()) / 2**20,
    }


def main() -> None:
    """Runs it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--file", default="")
    parser.add_argument("--group", default=",".join(GROUPS))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    os.environ["TQDM_DISABLE"] = "1"
    _import_all()
    out, failures = options.out or RESULTS / "hostile_files.json", 0
    with tempfile.TemporaryDirectory() as folder:
        for kind in options.group.split(","):
            group, source = GROUPS[kind], Path(folder, kind, "source")
            source.mkdir(parents=True)
            list(run_batches(functools.partial(_make, group, source), [0]))
            for name in (name for name in group.files if any(part in name for part in options.file.split(","))):
                used = _cpu()
                results: dict[int, Said] = {}
                work = functools.partial(attack, group, source, name)
                for number, found in run_batches(work, range(WHOLE, options.count)):
                    results[number] = found if isinstance(found, Said) else Said(wrong=[found])
                wrong = [f"{name} {n} ({f.way}) {text}" for n, f in results.items() for text in f.wrong]
                row = describe(name, [*group.commands], results) | {"processor_s": _cpu() - used}
                print(row, *wrong, sep="\n", flush=True)
                failures += len(wrong)
                if not wrong:
                    _save(row, out)
    if failures:
        sys.exit(f"{failures} went wrong")


def _save(row: dict[str, object], path: Path) -> None:
    """Puts a line in the place of the one of the same file."""
    there = json.loads(path.read_text())["rows"] if path.exists() else []
    lines = {line["file"]: line for line in [*there, row]}
    order = [name for group in GROUPS.values() for name in group.files]
    command = "python tests/benchmarks/hostile_files.py"  # also where the lines were made one group at a time
    save("hostile_files", [lines[name] for name in order if name in lines], out=path, command=command)


def _import_all() -> None:
    """Imports what commands import, which is there then in every process that is forked; nothing is computed.

    TensorFlow starts threads when it computes, and no thread survives a fork.
    """
    import tensorflow  # noqa: F401

    import unlearning

    for module in pkgutil.walk_packages(unlearning.__path__, "unlearning."):
        if "ray" not in module.name and not module.name.endswith("cluster"):
            with contextlib.suppress(ImportError):  # optional packages
                importlib.import_module(module.name)


def _cpu() -> float:
    """Processor seconds of the processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
