"""What every script of `tests/benchmarks` writes: a JSON file with its numbers and what they were measured with."""

from __future__ import annotations

import json
import os
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from support.command import program
from support.paths import ROOT
from unlearning.files import write_text
from unlearning.repairs.environment import describe_environment

RESULTS = ROOT / "tests" / "benchmarks" / "results"
_STARTED_WITH = os.getloadavg()[0]
"""What the machine did before the benchmark did anything."""


def describe_machine() -> dict[str, Any]:
    """Returns versions, device and cores, and how busy the machine was when the script was started.

    `load` is the mean number of running processes in the minute before; with more than half a core taken, times are
    those of a busy machine, and only shares and processor seconds mean something.
    """
    cores = len(os.sched_getaffinity(0))
    busy = _STARTED_WITH > 0.5
    return {
        **describe_environment().model_dump(mode="json"),
        "cores": cores,
        "load": round(_STARTED_WITH, 1),
        "machine": "busy" if busy else "quiet",
    }


def save(name: str, rows: Sequence[Mapping[str, Any]], *, out: Path | None = None, **facts: Any) -> Path:
    """Writes what a script measured.

    Args:
        name: Name of the script and of its file.
        rows: One mapping a line of its table.
        out: The file; by default the committed one.
        **facts: What holds for all lines.

    Returns:
        The file.
    """
    path = out or RESULTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "command": shlex.join(["python", f"tests/benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]]),
        "environment": describe_machine(),
        **facts,
        "rows": [rounded(row) for row in rows],
    }
    write_text(path, json.dumps(content, indent=1) + "\n")
    return path


def over_seeds(lines: Sequence[Mapping[str, Any]], by: Sequence[str], values: Sequence[str]) -> list[dict[str, Any]]:
    """Returns one line for all seeds of a kind.

    Args:
        lines: What was measured, a line a seed.
        by: Columns that make the kind, in which lines agree.
        values: Columns of which there are mean and standard deviation, where there are several seeds.

    Returns:
        The lines, in order of appearance, with `by`, the number of `seeds`, and the values as text.
    """
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for line in lines:
        groups.setdefault(tuple(line.get(key) for key in by), []).append(line)
    return [
        {**dict(zip(by, kind, strict=True)), "seeds": len(group)}
        | {key: _mean_and_deviation([line[key] for line in group]) for key in values}
        for kind, group in groups.items()
    ]


def _mean_and_deviation(values: Sequence[float]) -> str:
    digits = 1 if max(values) >= 10 else 3
    mean = f"{statistics.fmean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.{digits}f}"


def rounded(row: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a line with four significant digits: no benchmark repeats to more."""
    return {key: float(f"{value:.4g}") if isinstance(value, float) else value for key, value in row.items()}


def start(*words: object, cwd: Path | None = None) -> subprocess.Popen:
    """Starts a command in a process group of its own."""
    return subprocess.Popen(
        program(*words),
        cwd=cwd,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(*words: object, cwd: Path | None = None) -> float:
    """Calls a command to its end; returns the seconds it took."""
    started = time.perf_counter()
    process = start(*words, cwd=cwd)
    _, errors = process.communicate()
    if process.returncode:
        sys.exit(f"{' '.join(map(str, words))} ended with code {process.returncode}:\n{errors}")
    return time.perf_counter() - started
