"""Who may write where."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support.command import PATIENCE_S
from support.paths import ROOT
from unlearning.experiments.grid import locks

HOLDER = """
import sys, time
from pathlib import Path
from unlearning.experiments.grid import locks
with getattr(locks, sys.argv[1])(Path(sys.argv[2]), *eval(sys.argv[3])):
    print("held", flush=True)
    time.sleep(1800)
"""
COUNTER = """
import sys
from pathlib import Path
from unlearning.experiments.grid import locks
folder = Path(sys.argv[1])
for _ in range(40):
    with locks.lock_cell(folder, 1, 2):
        count = int((folder / "count").read_text())
        (folder / "count").write_text(str(count + 1))
"""


def hold(folder: Path, kind: str, *arguments) -> subprocess.Popen:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, kind, str(folder), repr(arguments)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None and process.stdout.readline() == b"held\n"
    return process


class TestLocks:
    def test_one_run_excludes_another_until_it_is_killed(self, tmp_path: Path) -> None:
        process = hold(tmp_path, "lock_run")
        for shard in ((1, 1), (1, 2)):
            with pytest.raises(locks.LockedError, match=f"process {process.pid} on"), locks.lock_run(tmp_path, shard):
                pass
        process.kill()
        process.wait()
        assert (tmp_path / ".locks/sweep.lock").is_file()
        with locks.lock_run(tmp_path):
            pass
        assert not (tmp_path / ".locks").exists()

    def test_shards_of_one_division_run_side_by_side(self, tmp_path: Path) -> None:
        process = hold(tmp_path, "lock_run", (1, 2))
        try:
            with locks.lock_run(tmp_path, (2, 2)):
                pass
            for shard in ((1, 2), (1, 1), (2, 3)):
                with pytest.raises(locks.LockedError), locks.lock_run(tmp_path, shard):
                    pass
        finally:
            process.kill()
            process.wait()

    def test_waiting(self, tmp_path: Path, caplog) -> None:
        process = hold(tmp_path, "lock_cell", 1, 2)
        with pytest.raises(locks.LockedError, match="budget-1-seed-2"), locks.lock_cell(tmp_path, 1, 2, timeout=0):
            pass
        with locks.lock_cell(tmp_path, 1, 3, timeout=0):
            pass
        killer = subprocess.Popen(["sh", "-c", f"sleep 2.5; kill -9 {process.pid}"])
        with locks.lock_cell(tmp_path, 1, 2):
            assert process.wait(PATIENCE_S) == -signal.SIGKILL
        killer.wait()

    def test_no_two_hold_one_lock(self, tmp_path: Path) -> None:
        """Lock files are removed and made again all the time; no count may be lost."""
        (tmp_path / "count").write_text("0")
        command = [sys.executable, "-c", COUNTER, str(tmp_path)]
        counters = [subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)}) for _ in range(3)]
        assert [process.wait(PATIENCE_S) for process in counters] == [0, 0, 0]
        assert (tmp_path / "count").read_text() == "120" and not (tmp_path / ".locks").exists()
