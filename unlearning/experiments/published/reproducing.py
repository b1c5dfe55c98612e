"""Making a published table again, and setting its numbers beside the published ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from unlearning.errors import InputError
from unlearning.experiments.cell import folder as layout
from unlearning.experiments.cell.setup import Setup
from unlearning.experiments.grid.sweep import SweepOptions, SweepReport, sweep
from unlearning.experiments.published.config import ExpectedNumber, PublishedTable, Run
from unlearning.experiments.published.measured import measure
from unlearning.experiments.results.columns import COLUMNS
from unlearning.records.comparison import Summary

DIGITS = 3
"""Digits after the point of expected numbers."""


@dataclasses.dataclass(frozen=True)
class Step:
    """One run, and what is there of it.

    Attributes:
        run: As configured.
        setup: The experiment it is, with its folder.
        repairs: Folders of its repairs, and whether each has results.
    """

    run: Run
    setup: Setup
    repairs: dict[Path, bool]


def steps(table: PublishedTable, out: Path | None = None, data_dir: str | None = None) -> list[Step]:
    """Returns what makes a table, and what of it is there; no data are loaded.

    Passes on an `InputError` if a method, detector or option does not exist.

    Args:
        table: The table.
        out: The folder to fill; `models/<experiment>` where None.
        data_dir: Folder of prepared data sets.
    """
    found = []
    for run in table.runs:
        setup = Setup(run.at(out or default_folder(table), data_dir))
        cells = [
            layout.cell_files(setup.folder, budget, seed).folder for budget in run.budgets or () for seed in run.seeds
        ]
        files = [planned.files(cell) for cell in cells for planned in setup.repairs]
        found.append(Step(run, setup, {own.folder: own.results.is_file() for own in files}))
    return found


def default_folder(table: PublishedTable) -> Path:
    """Returns the folder that a table's results go to unless somebody says otherwise."""
    return Path("models", table.experiment)


def check_missing(planned: Sequence[Step], *, only_missing: bool) -> None:
    """Finds out, before anything is loaded, whether there are results already.

    Args:
        planned: As `steps` returns them.
        only_missing: Whether results that are there are to be kept.

    Raises:
        InputError: If there are any and these are not to be kept: a table is made again from nothing.
    """
    there = [folder for step in planned for folder, done in step.repairs.items() if done]
    if there and not only_missing:
        raise InputError(
            f"{len(there)} results are there already, such as {there[0]}. Pass --only-missing to keep them and compute "
            "the others, or another --out."
        )


def reproduce(planned: Sequence[Step], options: SweepOptions | None = None) -> SweepReport:
    """Runs what is missing of a table; returns the results and failures of all runs.

    Args:
        planned: As `steps` returns them.
        options: How to go through the grids.

    Returns:
        The results and failures of all runs.
    """
    reports = [sweep(step.setup, options) for step in planned]
    return SweepReport(
        tuple(result for report in reports for result in report.results),
        tuple(failure for report in reports for failure in report.failed),
        tuple(place for report in reports for place in report.left),
    )


@dataclasses.dataclass(frozen=True)
class Compared:
    """A number beside the published one; all are in the unit of its column.

    Attributes:
        expected: The published one.
        found: The one that was made now.
        spread: The standard deviation over the published seeds, or what stands for it; None where nothing does.
    """

    expected: ExpectedNumber
    found: Summary
    spread: float | None

    @property
    def difference(self) -> float | None:
        """Found minus expected; None where nothing was found."""
        return None if self.found.mean is None else self.found.mean - self.expected.mean

    @property
    def verdict(self) -> Literal["within", "beyond", "missing", "no spread"]:
        """Whether the difference is larger than the spread."""
        if self.difference is None:
            return "missing"
        if self.spread is None:
            return "no spread"
        rounding = 0.5 * 10**-DIGITS
        return "within" if abs(self.difference) <= self.spread + rounding else "beyond"


def compare(table: PublishedTable, folder: Path) -> list[Compared]:
    """Sets the numbers in a folder beside the published ones.

    Args:
        table: The table.
        folder: What `reproduce` filled.

    Returns:
        One entry an expected number, in the order of the configuration.
    """
    numbers = measure(table, folder)
    found = []
    for expected in table.expected.rows:
        spread = expected.std
        if spread is None:
            spread = table.expected.spread_of_one_seed.get(expected.column)
        found.append(Compared(expected, numbers[expected.method][expected.column], spread))
    return found


def expected_numbers(table: PublishedTable, folder: Path) -> Iterator[ExpectedNumber]:
    """Yields the numbers in a folder as a configuration expects them: all that do not depend on the machine.

    Passes on an `InputError` if a row has no records.

    Args:
        table: The table.
        folder: The published records.
    """
    for method, columns in measure(table, folder).items():
        for name, summary in columns.items():
            if COLUMNS[name].timed or summary.mean is None:
                continue
            std = None if summary.std is None else round(summary.std, DIGITS)
            mean = round(summary.mean, DIGITS)
            yield ExpectedNumber(method=method, column=name, mean=mean, std=std, seeds=summary.count)
