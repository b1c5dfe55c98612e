"""The CSV file that a person edits between detection and repair: suspects go out, flagged rows come in."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from unlearning.detection.base import Detection
from unlearning.errors import InputError
from unlearning.files import open_csv, write_text
from unlearning.methods.detected import suspected_corrections
from unlearning.repairs.row_files import RowFiles
from unlearning.task import REMOVED, Corrections, Split

_LONGEST_CSV = 64 * 2**20
_COLUMNS = ("row", "given_label", "suggested_label", "score", "suspect", "corrected_label")
_NEEDED = ("row", "corrected_label")
_READ = (*_NEEDED, "given_label", "file")

Flagged = Corrections | Mapping[int, int | None] | tuple[Any, Any] | str | os.PathLike[str] | Any
"""Flagged rows and their corrected labels; see `take_flagged`. The last one is a `pandas.DataFrame`."""


def write_suspects(
    path: Path, split: Split, found: Detection, *, all_rows: bool = False, files: np.ndarray | None = None
) -> None:
    """Writes a detection as CSV, most suspicious row first, in the form that `read_flagged` reads.

    The corrected label is the suggested one for suspects and the given one for all other rows. A suspect whose
    suggested label is the given one has none, which takes the row out, as `repair --detect` does. The column is there
    to be edited.

    Args:
        path: The file; either the old one or the whole new one.
        split: The rows with their given labels.
        found: What a detector returned.
        all_rows: Write rows that are not suspect, too.
        files: Paths of the rows' images, for a column `file`; None where they are no files.
    """
    suspected = Corrections(found.suspects, found.suggested_labels[found.suspects])
    told = suspected_corrections(suspected, split.labels, "relabel")
    corrected = dict(zip(told.rows.tolist(), told.labels.tolist(), strict=True))
    order = np.argsort(-found.scores, kind="stable")
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    named = None if files is None else RowFiles(files)
    writer.writerow(_COLUMNS if named is None else (*_COLUMNS, "file"))
    for row in order.tolist():
        if all_rows or row in corrected:
            given, label = int(split.labels[row]), corrected.get(row, split.labels[row])
            score = f"{found.scores[row]:.9g}"
            kept = "" if label == REMOVED else int(label)
            values = [row, given, int(found.suggested_labels[row]), score, int(row in corrected), kept]
            writer.writerow(values if named is None else [*values, named.name(row)])
    write_text(path, buffer.getvalue())


def read_flagged(
    path: Path,
    rows: int,
    num_classes: int,
    given_labels: np.ndarray | None = None,
    files: np.ndarray | None = None,
) -> Corrections:
    """Reads a CSV of flagged rows.

    Passes on an `InputError` if the file is missing or malformed; the message names the line.

    Args:
        path: A file with the columns `row` and `corrected_label`; an empty label removes the row. A column
            `given_label` is checked, others are ignored. Of rows that are image files, a column `file` may stand for
            `row`; beside it, it is checked. What pandas and spreadsheets make of such a file is read, too: labels such
            as 4.0, lines without values, semicolons between values.
        rows: Number of training rows.
        num_classes: Number of classes.
        given_labels: The labels of the training rows, for that check; None leaves it out.
        files: Paths of the training images; None where they are no files, or not known.

    Returns:
        The corrections.
    """
    with open_csv("flagged", path, _LONGEST_CSV, foreign=True) as reader:
        return _read(reader, str(path), rows, num_classes, given_labels, files)


def take_flagged(
    flagged: Flagged | None, train: Split, num_classes: int, files: np.ndarray | None = None
) -> Corrections:
    """Returns flagged rows as corrections, whatever form they come in.

    Args:
        flagged: Corrections, `{row: label}`, `(rows, labels)`, a table (`pandas.DataFrame`) with the columns of
            `read_flagged`, or the path of such a file; None for no row. A label of None or -1 takes the row out; one
            label may stand for all rows.
        train: The training rows with their given labels.
        num_classes: Number of classes.
        files: Paths of the training images, where they are files.

    Returns:
        The corrections.

    Raises:
        InputError: If it has none of these forms, or its content does not fit.
    """
    if flagged is None:
        return Corrections.none()
    if isinstance(flagged, Corrections):
        return flagged
    if isinstance(flagged, str | os.PathLike):
        return read_flagged(Path(flagged), len(train), num_classes, train.labels, files)
    if isinstance(flagged, Mapping):
        flagged = list(flagged), list(flagged.values())
    if isinstance(flagged, tuple) and len(flagged) == 2:
        rows = np.asarray(flagged[0])
        labels = np.array([REMOVED if label is None else label for label in np.atleast_1d(flagged[1])])
        return Corrections(rows, np.repeat(labels, len(rows)) if np.ndim(flagged[1]) == 0 else labels)
    if hasattr(flagged, "to_csv") and hasattr(flagged, "columns"):
        # As text, so that a table is checked like a file; a label missing somewhere has made the others floats.
        text = flagged[[name for name in _READ if name in flagged.columns]].convert_dtypes().to_csv(index=False)
        return _read(
            csv.DictReader(io.StringIO(text)), "the table of flagged rows", len(train), num_classes, train.labels, files
        )
    forms = "{row: label}, (rows, labels), Corrections, a table with the columns row and corrected_label, or its path"
    raise InputError("flagged", forms, type(flagged).__name__)


def _read(
    reader: csv.DictReader[str],
    source: str,
    rows: int,
    num_classes: int,
    given_labels: np.ndarray | None,
    files: np.ndarray | None,
) -> Corrections:
    """Is `read_flagged` on an open table."""
    numbers: dict[int, int] = {}
    named = None if files is None else RowFiles(files)
    columns = set(reader.fieldnames or ())
    missing = set(_NEEDED) - columns
    if named is not None and "file" in columns:
        missing -= {"row"}
    if missing:
        raise InputError(f"{source} lacks the column {' and '.join(sorted(missing))} in its first line.")
    for record in reader:
        if not any(value.strip() for value in record.values() if isinstance(value, str)) and None not in record:
            continue  # a line of a spreadsheet that was emptied
        where = f"{source}, line {reader.line_num}"
        if None in record or any(record[name] is None for name in columns.intersection(_READ)):
            raise InputError(f"{where}: expected as many values as columns.")
        file, number = record.get("file", ""), record.get("row", "")
        if named is not None and file and not number.strip():
            row = named.row(file, where)
        else:
            row = _integer(number, f"{where}: row (they count within the training split)", 0, rows)
            if named is not None and file:
                named.check(row, file, where)
        told = record.get("given_label")
        if given_labels is not None and told and _whole(told) != str(given_labels[row]):
            raise InputError(
                f"{where}: training row {row} has the label {given_labels[row]}, not the given_label "
                f"{told.strip()[:50]!r}: the file is about other data, or another --data-seed."
            )
        label = _whole(record["corrected_label"])
        if row in numbers:
            raise InputError(f"{where}: row {row} is flagged twice.")
        numbers[row] = _integer(label, f"{where}: corrected_label", 0, num_classes) if label else REMOVED
    if not numbers:
        raise InputError(f"{source} flags no row.")
    return Corrections(np.array(list(numbers)), np.array(list(numbers.values())))


def _whole(text: str) -> str:
    """Returns text without the `.0` that pandas writes behind whole numbers in a column where one is missing."""
    digits, point, rest = text.strip().partition(".")
    return digits if point and digits and rest and not rest.strip("0") else text.strip()


def _integer(text: str, where: str, low: int, high: int) -> int:
    text = text.strip()
    # Only plain digits: int() would also take "1_0" and digits of other scripts.
    if not (text.isascii() and text.isdigit() and len(text) < 19 and low <= int(text) < high):
        raise InputError(f"{where}: expected an integer in {low}..{high - 1}, received {text[:50]!r}.")
    return int(text)
