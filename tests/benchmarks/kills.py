"""Kills every command that writes with `kill -9` at random moments, and compares what a second call ends with.

    PYTHONPATH=.:tests python tests/benchmarks/kills.py [--kills 4] [--seed 0]

Of digits, with one small network: `run`, `unlearn`, `repair`, `detect` and `report`. Each is called once undisturbed.
Then, in a new folder each time, it is killed with all its processes after a random part of the time that took, and
called again on what the kill left. The folder must then equal the undisturbed one byte for byte, but for times
(`.keras` archives: by weights), with nothing unfinished and no lock in it. `half written` counts kills that left
unfinished files or locks; `files kept` is how many files were there after the kill that stood there before, all of them
unchanged. `kill_and_resume.py` kills a grid again and again, with workers.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from support.benchmarks import finish, save, start
from support.trees import contents, unfinished

GRID = (*("--train-rows", "200", "--epochs", "2", "--batch-size", "32"), *("--budgets", "40", "--seeds", "1"))
CELL = "e/budget-40/seed-1"
OWN = (f"{CELL}/poisoned_model.keras", "--data", "digits")
COMMANDS: dict[str, tuple[str, ...]] = {
    "run": ("run", *GRID, "--methods", "first-order,fine-tuning", "--out", "e", "--quiet"),
    "unlearn": ("unlearn", "second-order", CELL, "--quiet"),
    "repair": ("repair", *OWN, "--detect", "neighbours", "--out", "own/repaired.keras", "--force", "--quiet"),
    "detect": ("detect", *OWN, "--detect", "neighbours", "--out", "own/suspects.csv", "--force", "--quiet"),
    "report": ("report", "e", "--out", "own/page.html", "--force"),
}


def found(folder: Path) -> dict[str, str]:
    """What is in a folder; the page carries times, and is compared by whether it is there whole."""
    there = contents(folder)
    for name in there:
        if name.endswith(".html"):
            there[name] = str((folder / name).read_text().rstrip().endswith("</html>"))
    return there


def main() -> None:
    """Kills and compares, command by command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=4, help="of each command")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    draw = random.Random(options.seed)
    rows = []
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        trained = base / "trained"
        trained.mkdir()
        finish(*COMMANDS["run"], cwd=trained)
        for label, command in COMMANDS.items():
            before = base / "before"
            shutil.rmtree(before, ignore_errors=True)
            before.mkdir() if label == "run" else shutil.copytree(trained, before)
            (before / "own").mkdir()
            undisturbed = base / f"{label}-undisturbed"
            shutil.copytree(before, undisturbed)
            seconds = finish(*command, cwd=undisturbed)
            expected, there = found(undisturbed), found(before)
            half = equal = spent = 0
            while spent < options.kills:
                folder = base / f"{label}-killed"
                shutil.rmtree(folder, ignore_errors=True)
                shutil.copytree(before, folder)
                process = start(*command, cwd=folder)
                try:
                    _, errors = process.communicate(timeout=draw.uniform(0.3, 1.0) * seconds)
                    if process.returncode:
                        sys.exit(f"{label} ended with code {process.returncode}:\n{errors}")
                    continue  # it was done before
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.communicate()
                spent += 1
                left = found(folder)
                if any(left.get(path) != content for path, content in there.items()):
                    sys.exit(f"{label}: a kill changed what was there before")
                half += bool(unfinished(folder))
                finish(*command, cwd=folder)
                after = found(folder)
                different = sorted(k for k in expected.keys() | after.keys() if expected.get(k) != after.get(k))
                if different or unfinished(folder):
                    sys.exit(f"{label}: differs from the undisturbed: {different or unfinished(folder)}")
                equal += 1
                print(f"{label}: kill {spent}, {len(left)} of {len(expected)} files, then equal", flush=True)
            rows.append(
                {
                    "command": label,
                    "kills": spent,
                    "half_written": half,
                    "equal_in_the_end": equal,
                    "files_kept": len(there),
                    "files": len(expected),
                }
            )
    save("kills", rows)


if __name__ == "__main__":
    main()
