"""Kills a grid with `kill -9` at random moments, again and again, and compares what it ends as with an undisturbed run.

    PYTHONPATH=.:tests python tests/benchmarks/kill_and_resume.py [--kills 20] [--workers 2] [--seed 0]

Digits, two seeds, first-order, three epochs. A run is killed after a random time, up to that of an undisturbed run, and
started again on what the kill left, until it is finished; then the folder must equal the undisturbed one byte for byte,
but for times (`.keras` archives: by weights). A new folder is begun whenever one is finished, until all kills are
spent. Half of the kills hit all processes of the run at once, as when a machine goes down, the others the main one.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from support.benchmarks import finish, save, start
from support.trees import contents, unfinished

OPTIONS = (
    *("--train-rows", "300", "--epochs", "3", "--batch-size", "32", "--budgets", "60"),
    *("--seeds", "1,2", "--methods", "first-order", "--quiet"),
)


def command(folder: Path, workers: int) -> tuple[object, ...]:
    """The run, with so many workers."""
    return ("run", *OPTIONS, "--out", folder, "--workers", workers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    draw = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        seconds = finish(*command(base / "undisturbed", 1))
        expected = contents(base / "undisturbed")
        print(f"undisturbed: {seconds:.0f} s, {len(expected)} files", flush=True)
        kills, trees = 0, 0
        while kills < arguments.kills:
            folder = base / f"killed-{trees}"
            while kills < arguments.kills:
                process = start(*command(folder, arguments.workers))
                try:
                    # Not before TensorFlow is imported: nothing is written until then.
                    _, errors = process.communicate(timeout=draw.uniform(0.15, 1.0) * seconds)
                except subprocess.TimeoutExpired:
                    everyone = draw.random() < 0.5
                    target = os.killpg if everyone else os.kill
                    target(process.pid, signal.SIGKILL)
                    process.communicate()
                    kills += 1
                    there = len([p for p in folder.rglob("*") if p.is_file()])
                    half = len(unfinished(folder)) if folder.exists() else 0
                    print(
                        f"kill {kills} ({'all processes' if everyone else 'the main process'}): "
                        f"{there} files, {half} of them locks or unfinished",
                        flush=True,
                    )
                    continue
                if process.returncode:
                    sys.exit(f"a run ended with code {process.returncode}:\n{errors}")
                break
            finish(*command(folder, arguments.workers))
            found = contents(folder)
            different = sorted(k for k in expected.keys() | found.keys() if expected.get(k) != found.get(k))
            if different:
                sys.exit(f"differs from the undisturbed run: {different}")
            trees += 1
            print(f"tree {trees}: equal to the undisturbed run", flush=True)
        print(f"{kills} kills, {trees} trees, all equal")
    rows = [{"kills": kills, "trees_equal_to_the_undisturbed_run": trees, "trees_that_differ": 0}]
    save("kill_and_resume", rows, workers=arguments.workers, files=len(expected))


if __name__ == "__main__":
    main()
