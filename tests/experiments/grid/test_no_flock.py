"""File systems without `flock`: files stand for locks, and one that a killed process left blocks nobody."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.paths import ROOT
from unlearning.experiments.grid import locks

KILLED = """
import errno, fcntl, os, sys
from pathlib import Path
from unlearning.experiments.grid import locks

def flock(*_):
    raise OSError(errno.ENOLCK, "No locks available")

fcntl.flock = flock
with locks.lock_run(Path(sys.argv[1])), locks.lock_cell(Path(sys.argv[1]), 1, 2):
    os.kill(os.getpid(), 9)
"""


@pytest.fixture(params=[errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP], ids=errno.errorcode.get)
def without(request, monkeypatch) -> Iterator[None]:
    def flock(*_) -> None:
        raise OSError(request.param, os.strerror(request.param))

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", flock)
        yield
    locks._HAS_FLOCK.clear()


@pytest.mark.usefixtures("without")
class TestWithoutFlock:
    def test_one_excludes_another_by_name(self, tmp_path: Path, caplog) -> None:
        with locks.lock_run(tmp_path), locks.lock_cell(tmp_path, 1, 2):
            assert locks.find_writers(tmp_path).keys() == {"sweep", "budget-1-seed-2"}
            with pytest.raises(locks.LockedError, match=f"process {os.getpid()} on "), locks.lock_run(tmp_path):
                pass
            with pytest.raises(locks.LockedError), locks.lock_cell(tmp_path, 1, 2, timeout=0):
                pass
            with locks.lock_cell(tmp_path, 1, 3, timeout=0):
                pass
        assert [record.message.count("has no locks") for record in caplog.records] == [1]
        assert os.listdir(tmp_path) == []

    def test_another_machine_is_named_with_what_to_remove(self, tmp_path: Path, monkeypatch) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(locks.socket, "gethostname", lambda: "elsewhere")
            context = locks.lock_cell(tmp_path, 1, 2, timeout=0)
            context.__enter__()
        with (
            pytest.raises(locks.LockedError, match=r"on elsewhere .*; if that process is gone, remove .*seed-2\.lock"),
            locks.lock_cell(tmp_path, 1, 2, timeout=0),
        ):
            pass
        context.__exit__(None, None, None)


def test_a_killed_holder_blocks_nobody(tmp_path: Path, monkeypatch) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    assert (
        subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.DEVNULL).returncode < 0
    )
    assert {path.suffix for path in (tmp_path / ".locks").iterdir()} == {".lock", ".owner"}
    assert not locks.find_writers(tmp_path)
    monkeypatch.setitem(locks._HAS_FLOCK, tmp_path / ".locks", False)
    with locks.lock_run(tmp_path), locks.lock_cell(tmp_path, 1, 2, timeout=0):
        pass
    assert os.listdir(tmp_path) == []
