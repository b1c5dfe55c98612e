"""Grids as independent cells: who runs what, in how many processes, and what happens when something goes wrong.

The clean model is trained once, before the cells. A cell, one `(budget, seed)`, trains its poisoned model once and
runs all its methods on it. Cells share nothing but the clean model, so they may run side by side: in worker processes,
on a Ray cluster, or as shards of a batch queue. The results do not depend on which (see `workers`).

A cell that fails leaves a `failure.json`, and the others go on. Whatever ends a run, the same command continues it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Literal

from unlearning.errors import invalid
from unlearning.experiments.cell import folder as layout
from unlearning.experiments.cell.run import Experiment
from unlearning.experiments.grid.cells import Cell, clear_leftovers
from unlearning.experiments.grid.cluster import RayPool, connected, import_ray
from unlearning.experiments.grid.locks import LockedError, clear_stale, lock_cell, lock_clean, lock_run
from unlearning.experiments.grid.plan import (
    CellState,
    Plan,
    available_memory,
    describe_duration,
    find_cell,
    make_plan,
    memory_of_a_process,
)
from unlearning.experiments.grid.workers import SIGNALS, HerePool, LocalPool, Pool
from unlearning.progress import progress_bar
from unlearning.records import CellFailure, UnlearningResults
from unlearning.startup import pool_size

logger = logging.getLogger(__name__)


class Stopped(BaseException):
    """A signal asked the process to stop; not an `Exception`, so that nothing on the way takes it for a failure.

    Args:
        number: The signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    @property
    def exit_code(self) -> int:
        """What a shell reports for a process ended by this signal."""
        return 128 + self.number

    def __str__(self) -> str:
        name = signal.Signals(self.number).name
        return f"Stopped by {name}. What is finished stays; the same command continues from there."


@dataclasses.dataclass(frozen=True)
class SweepOptions:
    """How to go through a grid.

    Attributes:
        workers: Processes that run cells; 1 runs them in this process.
        threads: Size of TensorFlow's thread pools in worker processes; None for that of this process, where the clean
            model is trained. The size does change the last bits of results, and is recorded in them.
        executor: `local`, or `ray`.
        address: A running Ray cluster; None starts one on this machine.
        shard: `(i, n)`: only cells whose number modulo `n` is `i - 1`.
        wait: Wait for other runs in the same folder instead of raising.
    """

    workers: int = 1
    threads: int | None = None
    executor: Literal["local", "ray"] = "local"
    address: str | None = None
    shard: tuple[int, int] = (1, 1)
    wait: bool = False

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise invalid("workers", "a positive integer", self.workers)
        if self.threads is not None and self.threads < 1:
            raise invalid("threads", "a positive integer", self.threads)
        if self.executor not in ("local", "ray"):
            raise invalid("executor", "local or ray", self.executor)
        if self.address is not None and self.executor != "ray":
            raise invalid("address", "none without the executor ray", self.address)
        if not 1 <= self.shard[0] <= self.shard[1]:
            raise invalid("shard", "i/n with 1 <= i <= n", f"{self.shard[0]}/{self.shard[1]}")


def parse_shard(text: str) -> tuple[int, int]:
    """Reads `i/n`."""
    index, slash, count = text.partition("/")
    if not slash or not index.isdecimal() or not count.isdecimal():
        raise invalid("shard", "i/n, such as 1/4", text)
    return int(index), int(count)


@dataclasses.dataclass(frozen=True)
class SweepReport:
    """What there is after a sweep.

    Attributes:
        results: Repairs of all asked-for cells, in order; those of failed methods are missing.
        failed: Why cells are unfinished.
        left: Cells not tried, because the disk was full.
    """

    results: tuple[UnlearningResults, ...]
    failed: tuple[CellFailure, ...] = ()
    left: tuple[Cell, ...] = ()


def sweep(experiment: Experiment, options: SweepOptions | None = None) -> SweepReport:
    """Runs what is missing of a grid.

    Args:
        experiment: The experiment.
        options: How; nothing there but `threads` changes a result.

    Returns:
        The results and failures.

    Raises:
        InputError: If the settings contradict each other, the data, or what is in the folder; nothing is written then.
        LockedError: If another run uses the folder.
        Stopped: Inside `stopping_on_signals`, on a signal; workers are gone then and nothing is half-written.
    """
    options = options or SweepOptions()
    if options.executor == "ray":
        import_ray()
    states = scan(experiment, options.shard)
    if experiment.find_clean() is not None and all(state.done and not state.failed for state in states.values()):
        clear_stale(experiment.folder)  # of a run that was killed when all was done
        return SweepReport(_results(states))
    with lock_run(experiment.folder, options.shard, options.wait), _cluster(options):
        with lock_clean(experiment.folder):
            if experiment.find_clean() is None:
                clear_leftovers(layout.clean_files(experiment.folder).folder)
                experiment.ensure_clean()
        # Anew: another run may have finished them while this one waited.
        states |= {cell: find_cell(experiment, *cell) for cell, state in states.items() if not state.done}
        missing = [cell for cell, state in states.items() if not state.done]
        _forget_failures(experiment, states)
        failed, left = _run_cells(experiment, missing, len(states), options) if missing else ([], [])
        states |= {cell: find_cell(experiment, *cell) for cell in missing}
    return SweepReport(_results(states), tuple(failed), tuple(left))


def _cluster(options: SweepOptions) -> contextlib.AbstractContextManager[None]:
    if options.executor != "ray":
        return contextlib.nullcontext()
    return connected(options.address, options.threads or pool_size())


def plan(experiment: Experiment, options: SweepOptions | None = None) -> Plan:
    """Finds what `sweep` would do, and estimates its time and memory; writes nothing and waits for nobody."""
    options = options or SweepOptions()
    return make_plan(experiment, list(scan(experiment, options.shard).values()))


def scan(experiment: Experiment, shard: tuple[int, int] = (1, 1)) -> dict[Cell, CellState]:
    """Checks the settings and finds what is there.

    Args:
        experiment: The experiment.
        shard: Which part of the grid, of how many.

    Returns:
        The state of each cell, in order.

    Raises:
        InputError: If the settings contradict each other, the data, or what is in the folder.
    """
    experiment.find_clean()
    experiment.check_grid()
    cells = [cell for number, cell in enumerate(experiment.cells()) if number % shard[1] == shard[0] - 1]
    return {cell: find_cell(experiment, *cell) for cell in cells}


def _results(states: dict[Cell, CellState]) -> tuple[UnlearningResults, ...]:
    return tuple(result for state in states.values() for _, result in state.repairs if result is not None)


def _forget_failures(experiment: Experiment, states: dict[Cell, CellState]) -> None:
    """Removes failure records of cells that are finished (those of a run that ended before it could)."""
    for cell, state in states.items():
        if state.done and state.failed:
            with lock_cell(experiment.folder, *cell):
                layout.cell_files(experiment.folder, *cell).failure.unlink(missing_ok=True)


def _run_cells(
    experiment: Experiment, cells: Sequence[Cell], total: int, options: SweepOptions
) -> tuple[list[CellFailure], list[Cell]]:
    """Runs cells in a pool; returns the failures and the cells not tried."""
    pool = _open_pool(experiment, len(cells), options)
    failed: list[CellFailure] = []
    left = list(cells)
    stopped = True
    progress = _Progress(total, total - len(cells))
    try:
        with contextlib.closing(pool.run(cells)) as events:
            for event in events:
                if event is not None:
                    cell, outcome = event
                    left.remove(cell)
                    progress.count(cell, outcome.duration_s, outcome.failure)
                    if outcome.failure is not None:
                        failed.append(outcome.failure)
                    if outcome.no_space:
                        logger.error("No space left on the disk: the other cells are not tried.")
                        break
                progress.show(pool.running)
        stopped = bool(pool.running)
    finally:
        running = list(pool.running)
        pool.close()
        progress.close()
        if stopped:
            for cell in running:
                with contextlib.suppress(LockedError), lock_cell(experiment.folder, *cell, timeout=10):
                    clear_leftovers(layout.cell_files(experiment.folder, *cell).folder)
    return failed, left


def _open_pool(experiment: Experiment, cells: int, options: SweepOptions) -> Pool:
    workers = min(options.workers, cells)
    threads = options.threads or pool_size()
    # Paths are taken from the folder that workers start in, which is this one.
    settings = dataclasses.replace(experiment.settings, output=experiment.folder.absolute())
    if options.address is None and workers > 1:
        workers = fit_memory(workers, memory_of_a_process(experiment), available_memory())
    if options.executor == "ray":
        return RayPool(settings, workers, threads, confined=options.address is None)
    if workers == 1:
        return HerePool(experiment)
    return LocalPool(settings, workers, threads)


def fit_memory(workers: int, needed: int, available: int) -> int:
    """Returns how many of the workers asked for fit into memory, at least 1, and says so where they are fewer.

    Args:
        workers: Number asked for.
        needed: Estimated bytes of one (see `plan`).
        available: Bytes there are.
    """
    fitting = max(1, min(workers, available // needed))
    if fitting < workers:
        logger.warning(
            "%d workers instead of %d: each needs about %.1f GB, and %.1f GB of memory are available.",
            fitting,
            workers,
            needed / 1e9,
            available / 1e9,
        )
    return fitting


@contextlib.contextmanager
def stopping_on_signals() -> Iterator[None]:
    """Turns SIGINT and SIGTERM inside into `Stopped`; a second signal ends the process at once.

    Only the main thread receives signals; elsewhere this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal received
        if received:
            os._exit(128 + number)
        received = True
        raise Stopped(number)

    before = {number: signal.signal(number, stop) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Progress:
    """One line: how many cells are done, run and failed, and how long the rest will take."""

    def __init__(self, total: int, done: int) -> None:
        self._total, self._done, self._failed, self._ended = total, done, 0, 0
        self._started = time.perf_counter()
        self._bar = progress_bar(total=total, description="cells", unit="cell")
        self._bar.delay = 0
        self._bar.bar_format = "{desc}"
        self.show(())

    def count(self, cell: Cell, duration_s: float, failure: CellFailure | None) -> None:
        self._ended += 1
        self._failed += failure is not None
        self._done += failure is None
        name = f"budget {cell[0]}, seed {cell[1]}"
        if failure is not None:
            logger.warning("%s failed: %s", name, summarise(failure))
        elif self._bar.disable:  # a file or a pipe: lines that stay
            logger.info("%s: done in %.0f s (%s)", name, duration_s, self._text(()))

    def show(self, running: Sequence[Cell]) -> None:
        self._bar.set_description_str(self._text(running))

    def close(self) -> None:
        self._bar.close()

    def _text(self, running: Sequence[Cell]) -> str:
        parts = [f"cells: {self._done}/{self._total} done"]
        parts += [f"{len(running)} running"] if running else []
        parts += [f"{self._failed} failed"]
        remaining = self._total - self._done - self._failed
        if remaining and self._ended:
            elapsed = time.perf_counter() - self._started
            parts.append(f"about {describe_duration(elapsed / self._ended * remaining)} left")
        return ", ".join(parts)


def summarise(failure: CellFailure) -> str:
    """Returns a failed cell's errors in one line."""
    texts = [f"{f.stage}: {f.error_type}: {' '.join(f.message.split())[:200]}" for f in failure.failures]
    return "; ".join(texts)
