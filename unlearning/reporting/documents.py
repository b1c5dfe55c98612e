"""Tables in documents, filled from the published records.

    <!-- table NAME -->
    (the table of configs/NAME.toml)
    <!-- end -->

Whatever stands between such lines is written here, in README.md and in every page below docs/; and so are the numbers
that `reproduce` expects, between `# <!-- expected NAME -->` and `# <!-- end -->` in configs/NAME.toml. In a clone,

    python -m unlearning.reporting.documents

writes them anew after records or configurations have changed; a test fails until that is done. It is no command of the
program: only whoever publishes records needs it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from unlearning.errors import InputError
from unlearning.experiments.published.config import (
    CONFIGS,
    PUBLISHED,
    SEEDS,
    PublishedTable,
    config_files,
    config_path,
    read_config,
)
from unlearning.experiments.published.measured import measure
from unlearning.experiments.published.reproducing import expected_numbers
from unlearning.experiments.results.columns import COLUMNS, Column
from unlearning.files import read_text, write_text
from unlearning.records.comparison import Summary

_LARGEST = 2**22
_START = re.compile(r"^(?:# )?<!-- (table|expected) (\S+) -->\n", re.MULTILINE)
_END = re.compile(r"^(?:# )?<!-- end -->$", re.MULTILINE)


def fill(text: str, where: str = "text") -> str:
    """Writes what belongs between the markers of a text.

    Args:
        text: A document or a configuration.
        where: Its name, for messages.

    Returns:
        The text, equal but for what is between markers.

    Raises:
        InputError: If a marker has no end, or names no configuration; or if records are missing.
    """
    parts, position = [], 0
    while start := _START.search(text, position):
        end = _END.search(text, start.end())
        following = _START.search(text, start.end())
        if end is None or (following is not None and following.start() < end.start()):
            raise InputError(f"{where}: the marker {start[0].strip()} has no <!-- end -->.")
        path = config_path(start[2])
        table = read_config(path, with_expected=False)
        written = markdown_table(table) if start[1] == "table" else _expected_rows(table)
        parts += [text[position : start.end()], written]
        position = end.start()
    return "".join([*parts, text[position:]])


def markdown_table(table: PublishedTable) -> str:
    """Returns a published table in Markdown, with its line ends.

    Args:
        table: The table.

    Raises:
        InputError: If a row has no records.
    """
    numbers = measure(table, PUBLISHED / table.experiment)
    shown = table.table
    headings = [*shown.headings, *("seeds" if name == SEEDS else COLUMNS[name].title for name in shown.columns)]
    lines = [_line(headings), f"|{'---|' * len(headings)}\n"]
    for row in shown.rows:
        own = numbers[row.key]
        seeds = max(summary.count for summary in own.values())
        if not seeds:
            raise InputError(f"There are no records of {row.key} in {PUBLISHED / table.experiment}.")
        cells = (str(seeds) if name == SEEDS else _cell(own[name], COLUMNS[name]) for name in shown.columns)
        lines.append(_line([*row.texts, *cells]))
    return "".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |\n"


def _cell(number: Summary, column: Column) -> str:
    if number.mean is None:
        return "-"
    # A few seconds are told to the tenth.
    digits = 1 if column.timed and number.mean < 10 else column.digits
    mean = f"{number.mean:{column.sign}.{digits}f}"
    return mean if number.std is None else f"{mean} ± {number.std:.{digits}f}"


def _expected_rows(table: PublishedTable) -> str:
    lines = []
    for number in expected_numbers(table, PUBLISHED / table.experiment):
        values = {name: value for name, value in number.config().items() if value is not None}
        pairs = ", ".join(f'{k} = "{v}"' if isinstance(v, str) else f"{k} = {v}" for k, v in values.items())
        lines.append(f"  {{ {pairs} }},\n")
    return "".join(["rows = [\n", *lines, "]\n"])


def documents() -> list[Path]:
    """Returns the files of a clone that may hold markers: its root is the current folder."""
    return [*Path().glob("*.md"), *sorted(Path("docs").rglob("*.md")), *config_files()]


def fill_files(paths: Sequence[Path]) -> list[Path]:
    """Fills files in place, and returns those that changed."""
    changed = []
    for path in paths:
        text = read_text("path", path, _LARGEST)
        if (filled := fill(text, str(path))) != text:
            write_text(path, filled)
            changed.append(path)
    return changed


def main() -> None:
    """Fills all documents of the clone in the current folder."""
    if not CONFIGS.is_dir():
        sys.exit(f"There is no folder {CONFIGS} here; run this at the root of a clone.")
    for path in fill_files(documents()):
        print(path)


if __name__ == "__main__":
    main()
