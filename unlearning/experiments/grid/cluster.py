"""Running the cells of a grid on a Ray cluster."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from unlearning.errors import InputError
from unlearning.experiments.cell.settings import RunSettings
from unlearning.experiments.cell.setup import Setup
from unlearning.experiments.grid.cells import CellOutcome, Place, record_death, run_cell
from unlearning.experiments.grid.workers import TICK_S, Events, Pool, divide_cores, free_memory, start_worker
from unlearning.startup import confine, pool_variables, usable_cores

logger = logging.getLogger(__name__)

_FIRST_WITH_TOKENS = (2, 52)
_ROOT = Path(__file__).resolve().parents[3]


def import_ray(own: bool = False) -> Any:
    """Returns the module ray.

    Args:
        own: Whether a cluster of this process alone is to be started. It listens on all interfaces (Ray has no setting
            for that), so that it asks for a token that only this process and its children know. Ray reads that when it
            is imported; where that happened before, without token mode, starting fails.

    Returns:
        The module.

    Raises:
        InputError: If it is not installed, or too old to ask for tokens.
    """
    if own:
        os.environ["RAY_AUTH_MODE"] = "token"
        if not {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & set(os.environ):
            os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    try:
        import ray
    except ImportError as error:
        raise InputError(
            "The executor ray needs the package ray, which is not installed: pip install ray "
            "(or pip install 'keras-unlearning[ray]')."
        ) from error
    if own and tuple(map(int, ray.__version__.split(".")[:2])) < _FIRST_WITH_TOKENS:
        raise InputError(
            f"The executor ray needs ray 2.52 or newer, whose clusters ask for a token; this is {ray.__version__}."
        )
    return ray


@contextlib.contextmanager
def connected(address: str | None, threads: int) -> Iterator[None]:
    """Starts a Ray cluster, or connects to one, for as long as the context lasts; one in use already stays as it is.

    Args:
        address: A running cluster (`auto`, or `host:port`); None starts one on this machine.
        threads: Size of TensorFlow's thread pools in its workers.

    Raises:
        InputError: If ray is not installed, or there is no cluster.
    """
    if (there := sys.modules.get("ray")) is not None and there.is_initialized():
        yield
        return
    ray = import_ray(own=address is None)
    path = os.pathsep.join([str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**pool_variables(threads), "PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"}
    for name in ("TF_FORCE_GPU_ALLOW_GROWTH", "TFDS_DATA_DIR"):
        if name in os.environ:
            environment[name] = os.environ[name]
    start: dict[str, Any] = {"num_cpus": len(usable_cores()), "include_dashboard": False} if address is None else {}
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # leave GPUs visible to actors
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        ray.init(
            address=address or "local",
            runtime_env={"env_vars": environment},
            log_to_driver=False,
            configure_logging=False,
            **start,
        )
    except Exception as error:  # whatever its client raises: ConnectionError, ValueError, RuntimeError
        where = "on this machine" if address is None else f"at {address}"
        # Ray's own message does not say that a cluster with tokens refuses clients without.
        hint = " A cluster that asks for a token needs RAY_AUTH_MODE=token here, too."
        if address is None:
            hint = " If ray was imported before, do this in a new process."
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"Cannot reach a Ray cluster {where}: {reason}.{hint}") from error
    try:
        yield
    finally:
        ray.shutdown()


class RayPool(Pool):
    """Runs the cells in actors of the Ray cluster that this process is connected to; an actor runs many cells.

    The machines of the cluster must see the experiment folder, the data and this library under the same paths.

    Args:
        settings: The experiment's settings.
        workers: Number of actors.
        threads: Size of TensorFlow's thread pools in each.
        confined: Whether the actors divide the cores of this machine, which is the whole cluster.
    """

    def __init__(self, settings: RunSettings, workers: int, threads: int, confined: bool) -> None:
        self._ray, self._settings, self._threads = import_ray(), settings, threads
        self._folder = Setup(settings).folder
        nodes = [node["Resources"].get("CPU", 0.0) for node in self._ray.nodes() if node["Alive"]]
        share = sum(nodes) / workers
        self._cpus = min(max(nodes), float(int(share)) if share >= 1 else share)
        self._confine = divide_cores(usable_cores(), workers) if confined else [[]] * workers
        self._actors: list[Any] = [None] * workers
        self._tasks: dict[Any, tuple[int, Place, float]] = {}

    @property
    def running(self) -> list[Place]:
        """Cells under way."""
        return [cell for _, cell, _ in self._tasks.values()]

    def run(self, cells: Sequence[Place]) -> Events:
        """Runs the cells; a worker that dies is replaced."""
        waiting = deque(cells)
        free = list(range(len(self._actors)))
        while waiting or self._tasks:
            while waiting and free:
                slot, cell = free.pop(0), waiting.popleft()
                if self._actors[slot] is None:
                    self._actors[slot] = self._start(slot)
                self._tasks[self._actors[slot].run.remote(*cell)] = (slot, cell, time.perf_counter())
            done, _ = self._ray.wait(list(self._tasks), timeout=TICK_S)
            for task in done:
                slot, cell, started = self._tasks.pop(task)
                free.append(slot)
                try:
                    outcome = self._ray.get(task)
                except self._ray.exceptions.RayError as error:
                    self._actors[slot] = None
                    text = " ".join(str(error).split())[:500]
                    outcome = record_death(self._folder, cell, text, time.perf_counter() - started)
                yield cell, outcome
            yield None

    def _start(self, slot: int) -> Any:
        actor = self._ray.remote(_RayWorker).options(num_cpus=self._cpus, max_restarts=0)
        return actor.remote(
            self._settings, self._threads, self._confine[slot], logger.getEffectiveLevel(), str(Path.cwd())
        )

    def close(self) -> None:
        """Ends the workers, whatever they do."""
        for actor in self._actors:
            if actor is not None:
                self._ray.kill(actor)


class _RayWorker:
    """The actor that runs cells."""

    def __init__(self, settings: RunSettings, threads: int, cores: list[int], level: int, folder: str) -> None:
        os.chdir(folder)  # paths in the settings may be relative
        self._setup = start_worker(settings, threads, level)
        if cores:
            confine(cores)

    def run(self, budget: int, seed: int) -> CellOutcome:
        outcome = run_cell(self._setup, budget, seed)
        free_memory()
        return outcome
