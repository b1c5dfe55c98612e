"""A worker ends with the process that started it, whatever either of them does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from support.command import PATIENCE_S
from support.paths import ROOT

PARENT = """
import multiprocessing, os, signal, sys, time
sys.path.insert(0, sys.argv[1])
import orphan

if __name__ == "__main__":
    child = multiprocessing.get_context("spawn").Process(target=orphan.work, daemon=True)
    child.start()
    time.sleep(1800)
"""
CHILD = """
import os, signal, time
from unlearning.experiments.grid import workers

def work():
    workers._die_with_parent()
    print(os.getpid(), flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)
"""


def test_a_stopped_worker_does_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    (tmp_path / "orphan.py").write_text(CHILD)
    (tmp_path / "parent.py").write_text(PARENT)
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    command = [sys.executable, str(tmp_path / "parent.py"), str(tmp_path)]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
    assert parent.stdout is not None
    worker = psutil.Process(int(parent.stdout.readline()))
    while worker.status() != psutil.STATUS_STOPPED:
        time.sleep(0.02)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    _, alive = psutil.wait_procs([worker], timeout=PATIENCE_S)
    assert not alive or worker.status() == psutil.STATUS_ZOMBIE
