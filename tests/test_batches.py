"""The processes of `tests/benchmarks/hostile_files.py`: one that dies costs one number, and none takes all memory."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence

import pytest

from support import batches
from support.batches import run_batches


def work(numbers: Sequence[int]) -> Iterator[str]:
    for number in numbers:
        if number == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        if number == 2:
            raise ValueError("a mistake of the script")
        if number == 3:
            bytearray(2**40)
        if number == 4:
            time.sleep(600)
        yield f"did {number}"


def test_every_number_has_a_result(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(batches, "_PATIENCE_S", 5.0)
    assert dict(run_batches(work, range(6))) == {
        0: "did 0",
        1: f"its process ended ({-signal.SIGTERM})",
        2: "its process ended (1)",
        3: "its process ended (1)",
        4: f"no answer in 5 s ({-signal.SIGKILL})",
        5: "did 5",
    }
    assert "a mistake of the script" in capfd.readouterr().err
