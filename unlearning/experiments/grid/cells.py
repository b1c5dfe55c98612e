"""Running one cell of a grid, with the clean model of its seed, and writing down what goes wrong there."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import logging
import os
import time
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from unlearning.experiments.cell import folder as layout
from unlearning.experiments.cell.repairing import awaited_duration, ensure_repaired, find_repaired
from unlearning.experiments.cell.rows import Cell
from unlearning.experiments.cell.scoring import Scorer
from unlearning.experiments.cell.setup import Setup
from unlearning.experiments.cell.training import ensure_clean, ensure_poisoned, find_clean
from unlearning.experiments.grid.locks import LockedError, lock_cell, lock_clean
from unlearning.files import PARTIAL
from unlearning.links import still_real
from unlearning.progress import stage, stages
from unlearning.records import CellFailure, FailedStage, UnlearningResults, write_json
from unlearning.repairs.environment import describe_environment
from unlearning.startup import import_tensorflow

logger = logging.getLogger(__name__)

Place = tuple[int, int]
"""`(budget, seed)`."""

_FRAMES = 8  # of a traceback, the innermost
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_ROOT = Path(__file__).resolve().parents[3]


@dataclasses.dataclass(frozen=True)
class CellOutcome:
    """How a cell ended.

    Attributes:
        duration_s: Wall-clock seconds.
        clean_s: How many of them the training of a clean model took; 0 where it was there, or another cell trained it.
        failure: What went wrong, or None.
        no_space: Whether it was the disk, so that other cells would fail, too.
    """

    duration_s: float
    clean_s: float = 0.0
    failure: CellFailure | None = None
    no_space: bool = False


def train_clean(setup: Setup, seed: int, timeout: float | None = None) -> float:
    """Trains the clean model of a seed unless it is there; of several processes that want it, one trains it.

    Passes on a `LockedError` if another process trains it for longer than `timeout`.

    Args:
        setup: The experiment.
        seed: The seed.
        timeout: Seconds to wait for whoever trains it; None is as long as it takes.

    Returns:
        Wall-clock seconds of the training; 0 where there was none.
    """
    if find_clean(setup, seed) is not None:
        return 0.0
    with lock_clean(setup.folder, seed, timeout):
        if find_clean(setup, seed) is not None:
            return 0.0
        started = time.perf_counter()
        clear_leftovers(layout.clean_of(setup.folder, seed).folder)
        ensure_clean(setup, seed)
        return time.perf_counter() - started


def run_cell(setup: Setup, budget: int, seed: int) -> CellOutcome:
    """Runs what is missing in a cell, and records what goes wrong instead of raising.

    The first of the cells of a seed trains their clean model; meanwhile the others train their poisoned ones. A method
    that fails does not keep the others from being run.

    Args:
        setup: The experiment.
        budget: The cell's budget.
        seed: The cell's seed.

    Returns:
        The outcome; `failure.json` in the cell's folder says the same.
    """
    started = time.perf_counter()
    failures: list[FailedStage] = []
    no_space = False
    clean_s = 0.0
    cell = Cell(setup, budget, seed)
    with lock_cell(setup.folder, budget, seed), stages(2 + len(setup.order), f"budget {budget}, seed {seed}"):
        files = cell.files
        clear_leftovers(files.folder)
        try:
            stage("clean model")
            with contextlib.suppress(LockedError):
                clean_s = train_clean(setup, seed, timeout=0)
            stage("poisoned model")
            ensure_poisoned(cell)
            clean_s += train_clean(setup, seed)
        except Exception as error:
            failures.append(describe_error(error, "training"))
            no_space = is_no_space(error)
        else:
            scorer = Scorer(cell)
            for planned in setup.order:
                stage(planned.label)
                try:
                    ensure_repaired(cell, planned, scorer)
                except Exception as error:
                    failures.append(describe_error(error, planned.label))
                    no_space = no_space or is_no_space(error)
        if not failures:
            still_real(files.failure).unlink(missing_ok=True)
            return CellOutcome(time.perf_counter() - started, clean_s)
        failure = record_failure(setup.folder, budget, seed, failures)
    return CellOutcome(time.perf_counter() - started, clean_s, failure, no_space)


def run_repair(cell: Cell) -> UnlearningResults:
    """Makes the one repair of a reopened cell unless it is there, with the models that it needs.

    Passes on a `LockedError` if another process computes in the cell. Passes on an `InputError` if the repair does not
    fit what is there.

    Args:
        cell: The cell; see `reopening`.

    Returns:
        The results.
    """
    (planned,) = cell.setup.repairs
    with lock_cell(cell.setup.folder, cell.budget, cell.seed, timeout=0):
        if find_repaired(cell, planned) is None:
            for name in planned.method.waits_for():
                awaited_duration(cell, planned, name)  # that it is there, before anything is trained
            import_tensorflow()
        with stages(2, f"budget {cell.budget}, seed {cell.seed}"):
            stage("clean model")
            train_clean(cell.setup, cell.seed)
            stage(planned.label)
            return ensure_repaired(cell, planned)


def record_failure(experiment: Path, budget: int, seed: int, failures: Sequence[FailedStage]) -> CellFailure:
    """Writes a cell's `failure.json`, where the disk has room for it."""
    failure = CellFailure(
        budget=budget,
        seed=seed,
        failures=list(failures),
        failed_at=datetime.now(UTC).isoformat(timespec="seconds"),
        environment=describe_environment(),
    )
    path = layout.cell_files(experiment, budget, seed).failure
    try:
        write_json(path, failure)
    except OSError as error:
        logger.warning("cannot write %s: %s", path, error)
    return failure


def describe_error(error: BaseException, stage: str) -> FailedStage:
    """Turns an exception into a record; paths outside this library are cut down to names."""
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    return FailedStage(
        stage=stage,
        error_type=type(error).__name__,
        message=(str(error).strip() or type(error).__name__)[:2000],
        traceback=[f"{_short(frame.filename)}:{frame.lineno} in {frame.name}" for frame in frames],
    )


def _short(filename: str) -> str:
    path = Path(filename)
    if "site-packages" in path.parts:
        return "/".join(path.parts[path.parts.index("site-packages") + 1 :])
    return path.relative_to(_ROOT).as_posix() if path.is_relative_to(_ROOT) else path.name


def is_no_space(error: BaseException | None) -> bool:
    """Whether an exception, or what caused it, is a full disk (h5py says so in its text only)."""
    while error is not None:
        if isinstance(error, OSError) and (error.errno in _NO_SPACE or "No space left on device" in str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


def clear_leftovers(folder: Path) -> None:
    """Removes what killed writers left unfinished; only whoever holds the folder's lock may call this.

    Only files with the names of such, in the places where this program writes: the folder, those of its stages, and
    what these hold (backups, figures). No link is followed or removed.

    Args:
        folder: Of a cell or a clean model.
    """
    own = [folder, *_real_folders(folder)]
    for place in [*own, *(inner for one in own[1:] for inner in _real_folders(one))]:
        if not place.is_dir():
            continue
        with os.scandir(place) as entries:
            names = [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]
        for name in names:
            # Where memory is short, Keras puts the weights of a .keras archive in a file of that name first. A
            # training removes its backup under a partial name, too, with the files in it.
            if name.startswith(PARTIAL) or name == "model.weights.h5" or place.name.startswith(PARTIAL):
                still_real(place / name).unlink(missing_ok=True)
        if place.name.startswith(PARTIAL):
            with contextlib.suppress(OSError):  # somebody put a folder in it: it stays
                place.rmdir()


def _real_folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]


def clear_cell(experiment: Path, budget: int, seed: int) -> None:
    """As `clear_leftovers`, in a cell, whose lock the caller holds, and beside its clean model, if nobody trains it."""
    clear_leftovers(layout.cell_files(experiment, budget, seed).folder)
    with contextlib.suppress(LockedError), lock_clean(experiment, seed, timeout=0):
        clear_leftovers(layout.clean_of(experiment, seed).folder)


def record_death(experiment: Path, cell: Place, how: str, duration_s: float) -> CellOutcome:
    """Records that the process that ran a cell ended."""
    stage = FailedStage(stage="worker", error_type="WorkerDied", message=how)
    with lock_cell(experiment, *cell):
        clear_cell(experiment, *cell)
        return CellOutcome(duration_s, failure=record_failure(experiment, *cell, [stage]))
