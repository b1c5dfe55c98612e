"""Grids as independent cells: who runs what, in how many processes, and what happens when something goes wrong.

A cell, one `(budget, seed)`, trains its poisoned model once and runs all its methods on it. Cells share nothing but the
clean model of their seed, which the first of them trains, so they may run side by side: in worker processes, on a Ray
cluster, or as shards of a batch queue. The results do not depend on which (see `workers`).

A cell that fails leaves a `failure.json`, and the others go on. Whatever ends a run, the same command continues it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Literal

from unlearning.errors import InputError
from unlearning.experiments.cell import folder as layout
from unlearning.experiments.cell.line import check_grid
from unlearning.experiments.cell.rows import cells as all_cells
from unlearning.experiments.cell.setup import Setup
from unlearning.experiments.grid.cells import CellOutcome, Place, clear_cell
from unlearning.experiments.grid.cluster import RayPool, connected, import_ray
from unlearning.experiments.grid.locks import LockedError, clear_stale, lock_cell, lock_run
from unlearning.experiments.grid.plan import (
    CellState,
    Plan,
    find_cell,
    make_plan,
    memory_of_a_process,
)
from unlearning.experiments.grid.workers import HerePool, LocalPool, Pool
from unlearning.links import still_real
from unlearning.memory import available_memory
from unlearning.progress import current, describe_duration
from unlearning.records import CellFailure, UnlearningResults
from unlearning.startup import import_tensorflow, pool_size

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class SweepOptions:
    """How to go through a grid.

    Attributes:
        workers: Processes that run cells; 1 runs them in this process.
        threads: Size of TensorFlow's thread pools in worker processes; None for that of this process. The size does
            change the last bits of results, and is recorded in them.
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
            raise InputError("workers", "a positive integer", self.workers)
        if self.threads is not None and self.threads < 1:
            raise InputError("threads", "a positive integer", self.threads)
        if self.executor not in ("local", "ray"):
            raise InputError("executor", "local or ray", self.executor)
        if self.address is not None and self.executor != "ray":
            raise InputError("address", "none without the executor ray", self.address)
        if not 1 <= self.shard[0] <= self.shard[1]:
            raise InputError("shard", "i/n with 1 <= i <= n", f"{self.shard[0]}/{self.shard[1]}")


def parse_shard(text: str) -> tuple[int, int]:
    """Reads `i/n`."""
    index, slash, count = text.partition("/")
    if not slash or not index.isdecimal() or not count.isdecimal():
        raise InputError("shard", "i/n, such as 1/4", text)
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
    left: tuple[Place, ...] = ()


def sweep(setup: Setup, options: SweepOptions | None = None) -> SweepReport:
    """Runs what is missing of a grid.

    Passes on an `InputError` if the settings contradict each other, the data, or what is in the folder; nothing is
    written then. Passes on a `LockedError` if another run uses the folder. Passes on a `Stopped` inside
    `signals.stopping_on_signals`, on a signal; workers are gone then and nothing is half-written.

    Args:
        setup: The setup.
        options: How; nothing there but `threads` changes a result.

    Returns:
        The results and failures.
    """
    options = options or SweepOptions()
    if options.executor == "ray":
        import_ray(own=options.address is None)
    states = scan(setup, options.shard)
    if all(state.done and not state.failed for state in states.values()):
        clear_stale(setup.folder)  # of a run that was killed when all was done
        return SweepReport(_results(states))
    import_tensorflow()  # not before: what is finished, or wrong, is told at once
    with lock_run(setup.folder, options.shard, options.wait), _cluster(options):
        # Anew: another run may have finished them while this one waited.
        states |= {cell: find_cell(setup, *cell) for cell, state in states.items() if not state.done}
        missing = [cell for cell, state in states.items() if not state.done]
        _forget_failures(setup, states)
        failed, left = _run_cells(setup, states, missing, options) if missing else ([], [])
        states |= {cell: find_cell(setup, *cell) for cell in missing}
    return SweepReport(_results(states), tuple(failed), tuple(left))


def _cluster(options: SweepOptions) -> contextlib.AbstractContextManager[None]:
    if options.executor != "ray":
        return contextlib.nullcontext()
    return connected(options.address, options.threads or pool_size())


def plan(setup: Setup, options: SweepOptions | None = None) -> Plan:
    """Finds what `sweep` would do, and estimates its time and memory; writes nothing and waits for nobody."""
    options = options or SweepOptions()
    states = list(scan(setup, options.shard).values())
    import_tensorflow()
    return make_plan(setup, states)


def scan(setup: Setup, shard: tuple[int, int] = (1, 1)) -> dict[Place, CellState]:
    """Checks the settings and finds what is there.

    Passes on an `InputError` if the settings contradict each other, the data, or what is in the folder.

    Args:
        setup: The setup.
        shard: Which part of the grid, of how many.

    Returns:
        The state of each cell, in order.
    """
    check_grid(setup)
    cells = [
        (cell.budget, cell.seed) for number, cell in enumerate(all_cells(setup)) if number % shard[1] == shard[0] - 1
    ]
    return {cell: find_cell(setup, *cell) for cell in cells}


def _results(states: dict[Place, CellState]) -> tuple[UnlearningResults, ...]:
    return tuple(result for state in states.values() for _, result in state.repairs if result is not None)


def _forget_failures(setup: Setup, states: dict[Place, CellState]) -> None:
    """Removes failure records of cells that are finished (those of a run that ended before it could)."""
    for cell, state in states.items():
        if state.done and state.failed:
            with lock_cell(setup.folder, *cell):
                still_real(layout.cell_files(setup.folder, *cell).failure).unlink(missing_ok=True)


def _run_cells(
    setup: Setup, states: Mapping[Place, CellState], cells: Sequence[Place], options: SweepOptions
) -> tuple[list[CellFailure], list[Place]]:
    """Runs cells in a pool; returns the failures and the cells not tried."""
    pool = _open_pool(setup, len(cells), options)
    failed: list[CellFailure] = []
    left = list(cells)
    stopped = True
    progress = _Progress(setup, states)
    try:
        with contextlib.closing(pool.run(cells)) as events:
            for event in events:
                if event is not None:
                    cell, outcome = event
                    left.remove(cell)
                    progress.count(cell, outcome)
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
                with contextlib.suppress(LockedError), lock_cell(setup.folder, *cell, timeout=10):
                    clear_cell(setup.folder, *cell)
    return failed, left


def _open_pool(setup: Setup, cells: int, options: SweepOptions) -> Pool:
    workers = min(options.workers, cells)
    threads = options.threads or pool_size()
    # Paths are taken from the folder that workers start in, which is this one.
    settings = setup.settings.changed(output=setup.folder.absolute())
    if options.address is None and workers > 1:
        workers = fit_memory(workers, memory_of_a_process(setup), available_memory())
    if options.executor == "ray":
        return RayPool(settings, workers, threads, confined=options.address is None)
    if workers == 1:
        return HerePool(setup)
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


class _Progress:
    """One line: how many cells are done, run and failed, with their clean models, and how long the rest will take."""

    def __init__(self, setup: Setup, states: Mapping[Place, CellState]) -> None:
        self._total, self._done = len(states), sum(state.done for state in states.values())
        self._failed, self._ended, self._busy_s = 0, 0, 0.0
        self._clean_files = {layout.clean_of(setup.folder, seed).results for _, seed in states}
        self._clean_s = [state.clean_s for state in states.values() if state.clean_s is not None]
        self._trained_s = 0.0
        self._started = time.perf_counter()
        self._reporter = current()
        self.show(())

    def count(self, cell: Place, outcome: CellOutcome) -> None:
        failure = outcome.failure
        self._ended += 1
        self._busy_s += outcome.duration_s
        if outcome.clean_s:
            self._clean_s.append(outcome.clean_s)
            self._trained_s += outcome.clean_s
        self._failed += failure is not None
        self._done += failure is None
        name = f"budget {cell[0]}, seed {cell[1]}"
        if failure is not None:
            logger.warning("%s failed: %s", name, summarise(failure))
        elif not self._reporter.live:  # a file or a pipe: lines that stay
            logger.info("%s: done in %.0f s (%s)", name, outcome.duration_s, self._text(()))

    def show(self, running: Sequence[Place]) -> None:
        self._reporter.beside = self._text(running) if self._total > 1 else ""
        self._reporter.sign()

    def close(self) -> None:
        self._reporter.beside = ""
        self._reporter.sign()

    def _text(self, running: Sequence[Place]) -> str:
        parts = [f"cells: {self._done}/{self._total} done"]
        parts += [f"{len(running)} running"] if running else []
        trained = sum(path.is_file() for path in self._clean_files)
        parts += [f"{self._failed} failed", f"clean models: {trained}/{len(self._clean_files)}"]
        remaining = self._total - self._done - self._failed
        if remaining and self._busy_s:
            # Seconds of work, of which the cells that run side by side do several in one second.
            work = (self._busy_s - self._trained_s) / self._ended * remaining
            if self._clean_s:
                work += sum(self._clean_s) / len(self._clean_s) * (len(self._clean_files) - trained)
            elapsed = time.perf_counter() - self._started
            parts.append(f"about {describe_duration(elapsed / self._busy_s * work)} left")
        return ", ".join(parts)


def summarise(failure: CellFailure) -> str:
    """Returns a failed cell's errors in one line."""
    texts = [f"{f.stage}: {f.error_type}: {' '.join(f.message.split())[:200]}" for f in failure.failures]
    return "; ".join(texts)
