"""A cell from its settings to its scores: check -> train -> (detect) -> repair -> score, one stage after the other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from unlearning.experiments.cell import folder as layout
from unlearning.experiments.cell.choices import PlannedRepair
from unlearning.experiments.cell.repairing import awaited_duration, ensure_repaired
from unlearning.experiments.cell.rows import Cell, cells
from unlearning.experiments.cell.scoring import Scorer
from unlearning.experiments.cell.setup import Setup
from unlearning.experiments.cell.stages import claim
from unlearning.experiments.cell.training import check_clean, ensure_clean, ensure_poisoned
from unlearning.progress import stage, stages
from unlearning.records import UnlearningResults


def run_grid(setup: Setup) -> list[UnlearningResults]:
    """Runs what is missing, one cell after the other in this process; returns all results, in order.

    Passes on the `InputError` of `check_grid`.

    Returns:
        The results of all cells, in order.
    """
    check_grid(setup)
    results = []
    for cell in cells(setup):
        with stages(2 + len(setup.order), f"budget {cell.budget}, seed {cell.seed}"):
            stage("clean model")
            ensure_clean(setup, cell.seed)
            stage("poisoned model")
            ensure_poisoned(cell)
            done = dict(run_repairs(cell))
        results += [done[planned] for planned in setup.repairs]
    return results


def run_repairs(cell: Cell) -> Iterator[tuple[PlannedRepair, UnlearningResults]]:
    """Makes the repairs of a cell, the gold standard first; yields each when it is there."""
    scorer = Scorer(cell)
    for planned in cell.setup.order:
        stage(planned.label)
        yield planned, ensure_repaired(cell, planned, scorer)


def check_grid(setup: Setup) -> None:
    """Finds every mistake that can be found before the first file is written or the first epoch trained.

    Passes on an `InputError` if settings contradict each other or the data, or the folder cannot be written.
    """
    setup.check()
    check_clean(setup)
    for cell in cells(setup):
        before: set[Path] = set()
        for planned in setup.order:
            for name in planned.method.waits_for():
                if planned.beside(cell.files.folder, name).results not in before:
                    awaited_duration(cell, planned, name)
            before.add(planned.files(cell.files.folder).results)
        if not cell.files.results.is_file():
            assert cell.corruption is not None  # drawn now: noise that cannot be drawn is found out here


def write_configs(setup: Setup) -> list[Path]:
    """Writes the configuration files of the whole grid without computing anything else.

    Returns:
        Their paths, in order.
    """
    check_grid(setup)
    written = [claim(layout.clean_of(setup.folder, s).config, setup.clean_config(s)) for s in setup.clean_seeds]
    for cell in cells(setup):
        written.append(claim(cell.files.config, cell.train_config))
        written.append(claim(cell.files.poison_config, cell.poison_config))
        for planned in setup.repairs:
            written.append(claim(planned.files(cell.files.folder).config, planned.config(cell.seed)))
    return written
