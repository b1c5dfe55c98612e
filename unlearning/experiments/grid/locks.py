"""Locks on an experiment folder, so that no two processes write the same files.

All lock files stand in `<experiment>/.locks` and vanish with the last writer. The operating system holds the locks
(`flock`) and drops them when a process ends, however it ends: a lock file left behind by `kill -9` blocks nobody. Each
file names its owner, for the message that others get.

Where the file system has no `flock` (some NFS and Lustre mounts), a file with the holder's process stands for the lock,
and its owner stands beside it. One left by `kill -9` is found out on the same machine; on another nobody can tell, and
the message says which file to remove.

- `sweep.lock` or `shard-<i>-of-<n>.lock`: held for the whole of a run; one run excludes another, except that different
  shards of the same division may run side by side.
- `clean-seed-<S>.lock` (`clean.lock` where all seeds share one clean model) and `budget-<B>-seed-<S>.lock`: held while
  something is computed there.

Commands that only read take no lock: files appear whole (written aside, then renamed).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import json
import logging
import os
import re
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import filelock

from unlearning.errors import InputError, printable
from unlearning.experiments.cell import folder as layout
from unlearning.files import is_alive, read_below, write_text
from unlearning.links import keeping_real, real_below
from unlearning.strict_json import parse_json

logger = logging.getLogger(__name__)

_FOLDER = ".locks"
_POLL_S = 0.1
_GATE_TIMEOUT_S = 60.0  # the gate is held for milliseconds; only a stopped process holds it longer
_RUNS = re.compile(r"sweep|shard-([0-9]+)-of-([0-9]+)")
_NAMES = re.compile(rf"gate|clean|clean-seed-[0-9]+|budget-[0-9]+-seed-[0-9]+|{_RUNS.pattern}")
_LARGEST_LOCK = 4096
_MOST_LOCKS = 10_000
_NO_FLOCK = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}
_HAS_FLOCK: dict[Path, bool] = {}  # by folder of locks; asked once a process


class LockedError(InputError):
    """Another process is writing where this one wants to."""


class _Held(Exception):
    """A lock is someone else's."""


@contextlib.contextmanager
def lock_run(experiment: Path, shard: tuple[int, int] = (1, 1), wait: bool = False) -> Iterator[None]:
    """Holds an experiment folder for one run.

    Args:
        experiment: The folder; it is made where there is none.
        shard: `(i, n)`: which part of the grid, of how many; `(1, 1)` is all of it.
        wait: Wait for other runs instead of raising.

    Raises:
        LockedError: If another run holds the folder, or this same shard of it.
    """
    name = "sweep" if shard[1] == 1 else f"shard-{shard[0]}-of-{shard[1]}"
    with contextlib.ExitStack() as stack:
        told = False
        while True:
            with _gate(experiment):
                other = _other_run(experiment, name)
                if other is None:
                    stack.enter_context(_hold(experiment, name, timeout=0))
                    break
            if not wait:
                raise LockedError(f"{experiment} is in use by {_owner(other)}. Pass --wait to wait for it.")
            if not told:
                logger.warning("waiting for %s, which uses %s", _owner(other), experiment)
                told = True
            time.sleep(5 * _POLL_S)
        try:
            yield
        finally:
            with _gate(experiment):
                _remove_stale(experiment)


def lock_clean(experiment: Path, seed: int, timeout: float | None = None) -> contextlib.AbstractContextManager[None]:
    """Holds the clean model that cells of a seed are compared with.

    Passes on a `LockedError` if another process trains it for longer.

    Args:
        experiment: The experiment folder.
        seed: The cells' seed.
        timeout: Seconds to wait for whoever trains it; None is as long as it takes.

    Returns:
        A context that holds it.
    """
    real_below(experiment, layout.clean_of(experiment, seed).folder)
    return _lock(experiment, "clean" if layout.has_one_clean(experiment) else f"clean-seed-{seed}", timeout)


def lock_cell(
    experiment: Path, budget: int, seed: int, timeout: float | None = None
) -> contextlib.AbstractContextManager[None]:
    """Holds one cell.

    Passes on a `LockedError` if another process computes there for longer.

    Args:
        experiment: The experiment folder.
        budget: The cell's budget.
        seed: The cell's seed.
        timeout: Seconds to wait for whoever computes there; None is as long as it takes.

    Returns:
        A context that holds it.
    """
    real_below(experiment, layout.cell_files(experiment, budget, seed).folder)
    return _lock(experiment, f"budget-{budget}-seed-{seed}", timeout)


@contextlib.contextmanager
def _lock(experiment: Path, name: str, timeout: float | None) -> Iterator[None]:
    if timeout is None:
        with _waited_for(experiment, name):
            yield
        return
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(_hold(experiment, name, timeout=timeout))
        except _Held:
            raise LockedError(f"{name} of {experiment} is in use by {_owner(_path(experiment, name))}.") from None
        yield


@contextlib.contextmanager
def _waited_for(experiment: Path, name: str) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(_hold(experiment, name, timeout=2))
        except _Held:
            logger.warning("waiting for %s, which computes %s", _owner(_path(experiment, name)), name)
            stack.enter_context(_hold(experiment, name, timeout=-1))
        yield


@contextlib.contextmanager
def _gate(experiment: Path) -> Iterator[None]:
    """Holds the lock under which runs come and go, so that looking and taking are one step."""
    try:
        with _hold(experiment, "gate", timeout=_GATE_TIMEOUT_S):
            yield
    except _Held:
        raise LockedError(f"{experiment} stays locked by {_owner(_path(experiment, 'gate'))}.") from None


@contextlib.contextmanager
def _hold(experiment: Path, name: str, timeout: float) -> Iterator[None]:
    """Holds one lock file; raises `_Held` if it is someone else's for longer than `timeout` seconds (-1: no limit)."""
    path = _path(experiment, name)
    while True:
        real_below(experiment, path, alone=True)  # the lock file is opened for writing, and its content replaced
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock = _lock_at(path)
            lock.acquire(timeout=timeout, poll_interval=_POLL_S)
            break
        except FileNotFoundError:
            continue  # the last writer removed the folder in between
        except filelock.Timeout:
            raise _Held from None
    try:
        owner = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC",
        }
        with contextlib.suppress(OSError):  # a full disk: the lock holds without a name, too
            if _has_flock(path.parent):
                path.write_text(json.dumps(owner) + "\n")
            else:
                write_text(_owner_file(path), json.dumps(owner) + "\n")
        with keeping_real(experiment):
            yield
    finally:
        _release(lock, path)
        with contextlib.suppress(OSError):
            path.parent.rmdir()


def _lock_at(path: Path) -> filelock.BaseFileLock:
    """The kind of lock that there can be at a path."""
    kind = filelock.FileLock if _has_flock(path.parent) else filelock.SoftFileLock
    return kind(path, thread_local=False)


def _has_flock(folder: Path) -> bool:
    """Whether the file system of a folder has locks; tried on a file of its own, so that no lock is touched."""
    if folder not in _HAS_FLOCK:
        with tempfile.TemporaryFile(dir=folder) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _HAS_FLOCK[folder] = True
            except OSError as error:
                if error.errno not in _NO_FLOCK:
                    raise
                _HAS_FLOCK[folder] = False
                logger.warning("%s: the file system has no locks (%s); files stand for them.", folder, error.strerror)
    return _HAS_FLOCK[folder]


def _release(lock: filelock.BaseFileLock, path: Path) -> None:
    """Gives a lock back and removes its files."""
    # Unlinked while held: whoever waits on the old file finds it gone and opens a new one. A file that is the lock
    # itself goes with it.
    file = path if _has_flock(path.parent) else _owner_file(path)
    with contextlib.suppress(InputError):  # behind a link by now: another one's
        real_below(path.parents[1], file).unlink(missing_ok=True)
    lock.release()


def _other_run(experiment: Path, name: str) -> Path | None:
    """The lock file of a run that excludes the run `name`, or None."""
    own = _RUNS.fullmatch(name)
    assert own is not None
    for path in _lock_files(experiment):
        run = _RUNS.fullmatch(path.stem)
        if run is None or (path.stem != name and run[2] is not None and run[2] == own[2]):
            continue  # no run, or another shard of this division
        if _is_held(experiment, path):
            return path
    return None


def _lock_files(experiment: Path) -> list[Path]:
    """The lock files by name; whatever else stands in their folder is none of ours."""
    folder = real_below(experiment, _path(experiment, "gate").parent)
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        names = [name for entry in itertools.islice(entries, _MOST_LOCKS) if (name := entry.name).endswith(".lock")]
    return [folder / name for name in sorted(names) if _NAMES.fullmatch(name.removesuffix(".lock"))]


def _is_held(experiment: Path, path: Path) -> bool:
    """Whether a live process holds a lock file; a stale file is removed."""
    real_below(experiment, path, alone=True)
    lock = _lock_at(path)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        return True
    _release(lock, path)
    return False


def clear_stale(experiment: Path) -> None:
    """Removes the lock files that killed processes left, if there are any; writes nothing otherwise."""
    if (experiment / _FOLDER).is_dir():
        with contextlib.suppress(OSError, InputError), _gate(experiment):
            _remove_stale(experiment)


def _remove_stale(experiment: Path) -> None:
    """Removes the lock files that killed processes left."""
    for path in _lock_files(experiment):
        if path.stem != "gate":
            with contextlib.suppress(OSError, InputError):  # no file, or not only ours: it stays
                _is_held(experiment, path)


def find_writers(experiment: Path, problem: Callable[[Path, str], None] | None = None) -> dict[str, str]:
    """Finds who writes in an experiment folder, from what the lock files say; no lock is taken.

    Args:
        experiment: The folder.
        problem: Called with a lock that cannot be read, and why; it is left out.

    Returns:
        Since when, by the lock's name; empty text where the file does not say. Locks that processes of this machine
        left behind when they were killed are left out; those of other machines cannot be told from held ones.
    """
    found = {}
    try:
        paths = _lock_files(experiment)
    except (InputError, OSError) as error:
        paths = []
        if problem is not None:
            problem(experiment / _FOLDER, str(error))
    for path in paths:
        try:
            owner = _read_owner(experiment, path)
            if owner and owner["host"] == socket.gethostname() and not is_alive(owner["pid"]):
                continue
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            if problem is not None:
                problem(path, str(error))
            continue
        if path.stem != "gate":
            found[path.stem] = owner.get("since", "")
    return found


def _read_owner(experiment: Path, path: Path) -> dict[str, Any]:
    """What a lock file says of its holder; empty where it says nothing yet.

    Args:
        experiment: The experiment's folder.
        path: The lock.

    Returns:
        Its `pid`, `host` and `since`.

    Raises:
        InputError: If it is no file of ours.
    """
    try:
        text = read_below(experiment, _owner_file(path), _LARGEST_LOCK)
    except FileNotFoundError:
        text = read_below(experiment, path, _LARGEST_LOCK)
    if not text.strip():
        return {}
    try:
        owner = parse_json(text.decode())
    except ValueError as error:
        raise InputError(f"{path} is no lock: {error}") from error
    kinds = {"pid": int, "host": str, "since": str}
    if not isinstance(owner, dict) or any(type(owner.get(name)) is not kind for name, kind in kinds.items()):
        raise InputError(f"{path} is no lock: it does not name its process.")
    return owner


def _path(experiment: Path, name: str) -> Path:
    return experiment / _FOLDER / f"{name}.lock"


def _owner_file(path: Path) -> Path:
    """Who holds a lock that is a file itself."""
    return path.with_suffix(".owner")


def _owner(path: Path) -> str:
    """Describes the holder of a lock, and what to do where it may be gone without anybody knowing."""
    with contextlib.suppress(OSError, ValueError):
        if owner := _read_owner(path.parents[1], path):
            who = f"process {owner['pid']} on {printable(owner['host'])} (since {printable(owner['since'])})"
            beyond = owner["host"] != socket.gethostname() and not _HAS_FLOCK.get(path.parent, True)
            return f"{who}; if that process is gone, remove {path}" if beyond else who
    return "another process"
