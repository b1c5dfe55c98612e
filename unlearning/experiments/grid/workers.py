"""Who runs the cells of a grid: this process, or processes on this machine (for a cluster see `cluster`).

The last bits of TensorFlow's sums depend on the size of its thread pool (measured: after two epochs on the digits the
weights made by pools of one and two threads differ), and a model that memorises labels amplifies last bits. So the pool
has the same size in every process, however many there are, and what is divided among workers is the processor cores
that they may run on. More threads than cores cost time, the more the smaller the operations: on one core, a training
step of `cnn_small` on 128 digits takes 17 ms with one thread and 21 ms with two. Where there are as many workers as
cores, `--threads 1` saves that. NumPy's linear algebra has one thread everywhere (see `unlearning.startup`).
"""

from __future__ import annotations

import abc
import contextlib
import ctypes
import dataclasses
import logging
import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from multiprocessing import connection as pipes
from typing import Any

from unlearning.experiments.cell.settings import RunSettings
from unlearning.experiments.cell.setup import Setup
from unlearning.experiments.grid.cells import CellOutcome, Place, record_death, run_cell
from unlearning.experiments.grid.signals import SIGNALS
from unlearning.progress import PrintableFormatter
from unlearning.startup import confine, import_tensorflow, pool_variables, usable_cores

logger = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1
TICK_S = 0.5
"""How often a pool lets its caller look at the clock."""

Events = Generator[tuple[Place, CellOutcome] | None, None, None]


class Pool(abc.ABC):
    """Runs cells."""

    @property
    @abc.abstractmethod
    def running(self) -> list[Place]:
        """Cells under way."""

    @abc.abstractmethod
    def run(self, cells: Sequence[Place]) -> Events:
        """Runs cells; yields each with its outcome when it ends, and now and then None."""

    @abc.abstractmethod
    def close(self) -> None:
        """Stops whatever runs."""


class HerePool(Pool):
    """Runs the cells one after the other in this process."""

    def __init__(self, setup: Setup) -> None:
        self._running: list[Place] = []
        self._setup = setup

    @property
    def running(self) -> list[Place]:
        """The cell under way."""
        return self._running

    def run(self, cells: Sequence[Place]) -> Events:
        """Runs the cells in order."""
        for cell in cells:
            self._running = [cell]
            yield None
            outcome = run_cell(self._setup, *cell)
            self._running = []
            yield cell, outcome

    def close(self) -> None:
        """Does nothing: what ran here has ended."""


@dataclasses.dataclass
class _Worker:
    process: Any
    pipe: pipes.Connection
    cell: Place | None = None
    started: float = 0.0


class LocalPool(Pool):
    """Runs the cells in processes on this machine; a process runs many cells.

    The processes are started afresh: one forked from a process that has used TensorFlow hangs. They end with this
    process, however it ends.

    Args:
        settings: The experiment's settings.
        workers: Number of processes.
        threads: Size of TensorFlow's thread pools in each.
    """

    def __init__(self, settings: RunSettings, workers: int, threads: int) -> None:
        self._settings, self._threads = settings, threads
        self._folder = Setup(settings).folder
        self._slots: list[_Worker | None] = [None] * workers
        self._cores = divide_cores(usable_cores(), workers)

    @property
    def running(self) -> list[Place]:
        """Cells under way."""
        return [worker.cell for worker in self._slots if worker is not None and worker.cell is not None]

    def run(self, cells: Sequence[Place]) -> Events:
        """Runs the cells; a worker that dies is replaced."""
        waiting = deque(cells)
        while True:
            self._hand_out(waiting)
            busy = [w for w in self._slots if w is not None and w.cell is not None]
            if not busy:
                return
            ready = pipes.wait([w.pipe for w in busy] + [w.process.sentinel for w in busy], timeout=TICK_S)
            for worker in busy:
                if worker.pipe in ready or worker.process.sentinel in ready:
                    cell, outcome = self._collect(worker)
                    self._hand_out(waiting)  # before the caller spends time on the outcome
                    yield cell, outcome
            yield None

    def _hand_out(self, waiting: deque[Place]) -> None:
        for slot, worker in enumerate(self._slots):
            if not waiting:
                return
            if worker is None:
                with _blocked_signals():  # or a signal in between leaves a worker that nobody knows of
                    worker = self._slots[slot] = self._start(slot)
            if worker.cell is None:
                worker.cell, worker.started = waiting.popleft(), time.perf_counter()
                with contextlib.suppress(OSError):  # dead already: found out when the outcome is awaited
                    worker.pipe.send(worker.cell)

    def _start(self, slot: int) -> _Worker:
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe()
        process = context.Process(
            target=_work,
            args=(there, self._settings, self._threads, self._cores[slot], logger.getEffectiveLevel()),
            name=f"cells-{slot}",
            daemon=True,
        )
        with _variables(pool_variables(self._threads)):
            process.start()
        there.close()
        return _Worker(process, here)

    def _collect(self, worker: _Worker) -> tuple[Place, CellOutcome]:
        cell = worker.cell
        assert cell is not None
        try:
            outcome = worker.pipe.recv()
            worker.cell = None
            return cell, outcome
        except (EOFError, OSError):
            worker.process.join()
        self._slots[self._slots.index(worker)] = None
        duration_s = time.perf_counter() - worker.started
        return cell, record_death(self._folder, cell, _describe_end(worker.process.exitcode), duration_s)

    def close(self) -> None:
        """Ends the workers, whatever they do."""
        workers = [worker for worker in self._slots if worker is not None]
        for worker in workers:
            worker.pipe.close()  # an idle one ends by itself
            if worker.cell is not None:
                worker.process.kill()  # files appear whole or not at all, so there is nothing to finish
        for worker in workers:
            worker.process.join(timeout=5)
            worker.process.kill()
            worker.process.join()
        self._slots = [None] * len(self._slots)


def _describe_end(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        name = signal.Signals(-exit_code).name
        hint = "; the system does so when memory runs out" if name == "SIGKILL" else ""
        return f"The worker process was ended by {name}{hint}."
    return f"The worker process ended with code {exit_code}."


def divide_cores(cores: Sequence[int], workers: int) -> list[list[int]]:
    """Divides cores among workers: disjoint shares as equal as can be, or one each in turn where there are too few."""
    if workers >= len(cores):
        return [[cores[i % len(cores)]] for i in range(workers)]
    return [list(cores[i * len(cores) // workers : (i + 1) * len(cores) // workers]) for i in range(workers)]


def _work(pipe: pipes.Connection, settings: RunSettings, threads: int, cores: list[int], level: int) -> None:
    """The main function of a local worker."""
    _die_with_parent()
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # Ctrl-C reaches all processes; the parent decides what ends
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    setup = start_worker(settings, threads, level)
    confine(cores)
    while True:
        try:
            cell = pipe.recv()
        except EOFError:
            return
        pipe.send(run_cell(setup, *cell))
        free_memory()


def start_worker(settings: RunSettings, threads: int, level: int) -> Setup:
    """Readies a process for running cells: quiet, with TensorFlow, and with an experiment of its own."""
    os.environ["TQDM_DISABLE"] = "1"
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    import_tensorflow(threads)
    library = logging.getLogger("unlearning")
    library.handlers = [logging.StreamHandler()]
    library.handlers[0].setFormatter(PrintableFormatter())
    library.setLevel(max(level, logging.WARNING))
    library.propagate = False
    return Setup(settings)


def free_memory() -> None:
    """Drops the graphs of finished cells."""
    import keras

    keras.backend.clear_session()


def _die_with_parent() -> None:
    """Lets the system kill this process when its parent ends (Linux), also where it is stopped (SIGSTOP) or busy."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent.pid:  # it ended before
        os._exit(1)


def _end_with_parent() -> None:
    """Ends this process with its parent where the system does not."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    pipes.wait([parent.sentinel])
    os._exit(1)


@contextlib.contextmanager
def _variables(values: dict[str, str]) -> Iterator[None]:
    """Sets environment variables for the processes started inside."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _blocked_signals() -> Iterator[None]:
    """Holds back signals to stop, here and in processes started inside, until they can be answered."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
