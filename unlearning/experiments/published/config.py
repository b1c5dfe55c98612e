"""The configuration of a published table, `configs/NAME.toml`: what is run, on what, and what came out.

    title = "..."
    experiment = "digits-cnn_small-flip-pairs"    # the folder, below models/ and models/published/

    [settings]                                    # of every run: fields of RunSettings
    dataset = "digits"
    budgets = [251]

    [[runs]]                                      # fields of RunSettings, and `within`
    methods = [{ name = "first-order" }, { name = "sap", variant = "all", overrides = { trusted_count = 300 } }]

    [hardware]
    machine = "two processor cores"
    threads = 2
    minutes = 3

    [table]
    headings = ["method"]                         # of the cells of text
    columns = ["after", "restored"]               # of `results.columns`
    rows = [{ folder = "first-order", texts = ["`first-order`"] }]

    [expected]
    rows = [{ method = "first-order", column = "after", mean = 97.3, std = 0.8, seeds = 3 }]

Every part is a settings class, so that an unknown field is an error with the file's name. Nothing here computes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from annotated_types import MinLen
from pydantic import ValidationError, model_validator

from unlearning.errors import InputError
from unlearning.experiments.cell import folder as layout
from unlearning.experiments.cell.settings import RunSettings
from unlearning.experiments.results.columns import COLUMNS
from unlearning.files import read_toml
from unlearning.settings import NonNegative, Positive, PositiveFloat, Settings, explain

CONFIGS = Path("configs")
"""Where configurations are, seen from a clone of the repository."""
PUBLISHED = Path("models", "published")
"""Where the committed records are."""
SEEDS = "seeds"
"""A column of a table that is no number of a repair: how many seeds a row is over."""
_LARGEST_CONFIG = 2**20


class Hardware(Settings):
    """What the numbers were made on."""

    machine: str
    """In words."""
    threads: Positive
    """Processor threads of TensorFlow; other numbers change the last bits of results."""
    minutes: PositiveFloat
    """Wall-clock minutes of everything, as recorded there."""
    memory_gb: PositiveFloat | None = None
    """Memory of the process, where it was measured."""


class Run(RunSettings):
    """One run of a grid."""

    within: str = ""
    """Folder inside the experiment's, where one table is over several experiments."""

    @model_validator(mode="after")
    def _belongs_here(self) -> Run:
        for name in ("output", "tensorboard", "data_dir"):
            if getattr(self, name) is not None:
                raise InputError(name, "nothing in a configuration: it is of one machine", str(getattr(self, name)))
        if not self.budgets:
            raise InputError("budgets", "numbers of rows, so that the folders are known without the data", "none")
        if not self.methods:
            raise InputError("methods", "at least one", "none")
        if self.within:
            layout.check_name("within", self.within)
        return self

    def at(self, output: Path, data_dir: str | None) -> RunSettings:
        """Returns the same on this machine: results below `output`, prepared data sets in `data_dir`."""
        own = {name: getattr(self, name) for name in self.model_fields_set & set(RunSettings.model_fields)}
        return RunSettings(**{**own, "output": output / self.within, "data_dir": data_dir})


class Row(Settings):
    """One row of the table: a repair, over all seeds."""

    folder: str
    """Folder of the repair in a cell: method and variant."""
    texts: tuple[str, ...]
    """The cells of text in front of the numbers."""
    within: str = ""
    """See `Run.within`."""

    @property
    def key(self) -> str:
        """What names the row among all: its folders."""
        return f"{self.within}/{self.folder}" if self.within else self.folder


class Table(Settings):
    """Which rows and columns the table has."""

    headings: Annotated[tuple[str, ...], MinLen(1)]
    """Of the cells of text."""
    columns: Annotated[tuple[str, ...], MinLen(1)]
    """Names in `results.columns.COLUMNS`, or `seeds`."""
    rows: Annotated[tuple[Row, ...], MinLen(1)]
    """From top to bottom."""

    @model_validator(mode="after")
    def _fits_together(self) -> Table:
        for name in self.columns:
            if name != SEEDS and name not in COLUMNS:
                raise InputError("columns", f"some of {', '.join([*COLUMNS, SEEDS])}", name)
        if set(self.columns) == {SEEDS}:
            raise InputError("columns", "some numbers, too", SEEDS)
        for row in self.rows:
            if any("|" in text or "\n" in text for text in row.texts):
                raise InputError("texts", "cells of a Markdown table, without '|' and line ends", list(row.texts))
            if len(row.texts) != len(self.headings):
                raise InputError("texts", f"{len(self.headings)} cells of text in the row {row.key}", len(row.texts))
        keys = [row.key for row in self.rows]
        if len(set(keys)) != len(keys):
            raise InputError("rows", "different repairs", ", ".join(keys))
        return self


class ExpectedNumber(Settings):
    """One number of the published records."""

    method: str
    """The row's folder; `within/folder` where experiments are several."""
    column: str
    """The number's column."""
    mean: float
    """Mean over the seeds, in the column's unit."""
    std: NonNegative | None = None
    """Sample standard deviation over the seeds; left out with one seed."""
    seeds: Positive
    """Number of seeds (of models, where one model stands for all seeds)."""


class Expected(Settings):
    """What came out, and how far apart two honest runs may be."""

    rows: tuple[ExpectedNumber, ...] = ()
    """The numbers, without times; written from the records by `reporting.documents`."""
    spread_of_one_seed: dict[str, PositiveFloat] = {}
    """By column, what stands for the standard deviation where there is one seed: what the limited number of test rows
    explains alone. Another seed differs by more."""


class PublishedTable(Settings):
    """A published table."""

    title: str
    """What it shows, in one line."""
    experiment: str
    """Name of the folder below `models/` and below `models/published/`."""
    note: str = ""
    """What to know before its numbers are believed."""
    settings: dict[str, Any] = {}
    """Fields of every run that it does not set itself."""
    runs: Annotated[tuple[Run, ...], MinLen(1)]
    """What makes it, in this order."""
    hardware: Hardware
    """What it was made on."""
    table: Table
    """What it shows."""
    expected: Expected = Expected()
    """What came out."""

    @model_validator(mode="after")
    def _fits_together(self) -> PublishedTable:
        layout.check_name("experiment", self.experiment)
        budgets = {budget for run in self.runs for budget in run.budgets or ()}
        if len(budgets) != 1:
            raise InputError("budgets", "one for all runs: a table is over seeds", sorted(budgets))
        rows = {row.key for row in self.table.rows}
        for number in self.expected.rows:
            if number.method not in rows or number.column not in self.table.columns:
                raise InputError("expected", "rows and columns of the table", f"{number.method}, {number.column}")
        return self

    @property
    def budget(self) -> int:
        """The budget of its cells."""
        return next(budget for run in self.runs for budget in run.budgets or ())


def config_path(name: str) -> Path:
    """Returns the file of a table.

    Args:
        name: Its name, or the path of a `.toml` file.

    Raises:
        InputError: If there is none; the message names those there are.
    """
    path = Path(name) if name.endswith(".toml") else CONFIGS / f"{name}.toml"
    if path.is_file():
        return path
    known = ", ".join(path.stem for path in config_files())
    raise InputError("name", f"one of {known}" if known else f"a .toml file: there is no folder {CONFIGS} here", name)


def config_files() -> list[Path]:
    """Returns the configurations there are, by name."""
    return sorted(CONFIGS.glob("*.toml"), key=lambda path: path.stem)


def read_config(path: Path, *, with_expected: bool = True) -> PublishedTable:
    """Reads the configuration of a table.

    Args:
        path: The file.
        with_expected: Whether to read what came out; without it a file can be read whose numbers are to be replaced.

    Returns:
        The table.

    Raises:
        InputError: If it is no such file; the message names it and the field.
    """
    content = read_toml("name", path, _LARGEST_CONFIG)
    if not with_expected:
        content.pop("expected", None)
    try:
        # JSON mode, as for records: strict about numbers, and lists stand for tuples.
        return PublishedTable.model_validate_json(json.dumps(_with_shared(content)), strict=True)
    except TypeError as error:  # dates, which TOML has and no field takes
        raise InputError(f"{path}: {error}") from error
    except ValidationError as error:
        raise InputError(f"{path}: {explain(error, PublishedTable)}") from error


def _with_shared(content: dict[str, Any]) -> dict[str, Any]:
    """Gives every run the shared fields, where both are what they should be; what is not is found by their types."""
    shared, runs = content.get("settings", {}), content.get("runs")
    if isinstance(shared, dict) and isinstance(runs, list):
        runs = [{**shared, **run} if isinstance(run, dict) else run for run in runs]
        return {**content, "runs": runs}
    return content
