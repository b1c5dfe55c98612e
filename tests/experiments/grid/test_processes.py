"""Cells in processes: kills, signals, workers."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from support.command import PATIENCE_S
from support.grid import SETTINGS, owner, setup, start, under_way, wait_for
from support.trees import contents, unfinished
from unlearning.experiments.grid import locks, signals, sweep, workers
from unlearning.records import CellFailure, read_json

SLOWER = ("--model", "cnn_small")


class TestProcesses:
    @pytest.mark.slow
    def test_interruptions(self, tmp_path: Path) -> None:
        """One grid: stopped by SIGTERM, killed, robbed of a worker, and in the end like the undisturbed one."""
        folder, alone = tmp_path / "e", tmp_path / "alone/e"
        sweep.sweep(setup(alone, model="cnn_small"))  # which trains long enough to be stopped in between
        reference = contents(alone)
        process = start(folder, *SLOWER)
        wait_for(lambda: bool(list(folder.glob("clean/seed-1/backup/state-*"))), process)
        # While it runs: others are refused with its name, dry runs are not.
        with pytest.raises(locks.LockedError, match=f"process {process.pid} on .*--wait"):
            sweep.sweep(setup(folder, model="cnn_small"))
        assert not sweep.plan(setup(folder, model="cnn_small")).cells[0].done
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 143 and "the same command continues" in err and "Traceback" not in err
        assert not unfinished(folder) and not list(folder.rglob("failure.json"))
        assert not (folder / "clean/seed-1/train_results.json").exists()

        process = start(folder, *SLOWER, "--workers", "2")
        wait_for(lambda: under_way(folder), process)
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) >= 2
        process.kill()
        process.communicate()
        _, alive = psutil.wait_procs(children, timeout=PATIENCE_S)
        assert not alive, "workers end with the process that started them"
        assert (folder / ".locks/sweep.lock").is_file(), "the killed run's lock is still there, and must not block"
        left = folder / "budget-40/seed-1/.partial-left.keras"
        left.parent.mkdir(parents=True, exist_ok=True)  # the run may have been killed before it came so far
        left.write_bytes(b"half")

        process = start(folder, *SLOWER, "--workers", "2")
        lock = folder / ".locks/budget-40-seed-1.lock"
        wait_for(lambda: owner(lock) in {c.pid for c in psutil.Process(process.pid).children()}, process)
        os.kill(owner(lock), signal.SIGKILL)
        _, err = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 1
        assert "Failed: budget 40, seed 1: worker: WorkerDied" in err and "SIGKILL" in err
        assert "budget 40, seed 2: done" in err and "1/2 done" in err and "WARNING" not in err
        failure = read_json(folder / "budget-40/seed-1/failure.json", CellFailure)
        assert (failure.budget, failure.seed, failure.failures[0].stage) == (40, 1, "worker")
        assert not unfinished(folder)
        there = contents(folder)
        by_worker = [name for name in reference if "seed-2" in name]
        assert by_worker and [there[name] for name in by_worker] == [reference[name] for name in by_worker]

        assert not sweep.sweep(setup(folder, model="cnn_small")).failed
        assert contents(folder) == reference

    def test_stopping_kills_workers(self, tmp_path: Path) -> None:
        pool = workers.LocalPool(SETTINGS.changed(output=tmp_path / "e", model="cnn_small"), 2, 2)
        events = pool.run([(40, 1), (40, 2)])
        assert next(events) is None and sorted(pool.running) == [(40, 1), (40, 2)]
        children = multiprocessing.active_children()
        started = [psutil.Process(child.pid) for child in children if child.name in ("cells-0", "cells-1")]
        assert len(started) == 2
        deadline = time.monotonic() + PATIENCE_S
        while not all("spawn_main" in " ".join(worker.cmdline()) for worker in started):  # not yet its own program
            assert time.monotonic() < deadline, "timed out"
            time.sleep(0.02)
        pool.close()
        _, alive = psutil.wait_procs(started, timeout=PATIENCE_S)
        assert not pool.running and not alive

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_exit_codes(self, number: signal.Signals) -> None:
        before = signal.getsignal(number)
        with pytest.raises(signals.Stopped) as stopped, signals.stopping_on_signals():
            os.kill(os.getpid(), number)
            time.sleep(PATIENCE_S)  # until the handler raises
        assert stopped.value.exit_code == {signal.SIGINT: 130, signal.SIGTERM: 143}[number]
        assert signal.getsignal(number) is before
