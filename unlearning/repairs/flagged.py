"""What a person decides between detection and repair: suspects go out as a CSV file, flagged rows come in.

They come in as the same file, as cleanlab's table of issues, or as what Label Studio, CVAT and FiftyOne export.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from unlearning.detection.base import Detection
from unlearning.errors import InputError
from unlearning.files import open_csv, write_text
from unlearning.methods.detected import suspected_corrections
from unlearning.review.exchange import Decision, is_export, read_decisions
from unlearning.review.row_files import RowFiles
from unlearning.task import REMOVED, Corrections, Split

_LONGEST_CSV = 64 * 2**20
_COLUMNS = ("row", "given_label", "suggested_label", "score", "suspect", "corrected_label")
_NEEDED = ("row", "corrected_label")
_ISSUE = "is_label_issue"
_READ = (*_NEEDED, "given_label", "file", _ISSUE, "predicted_label")

Flagged = Corrections | Mapping[int, int | None] | tuple[Any, Any] | str | os.PathLike[str] | Any
"""Flagged rows and their corrected labels; see `take_flagged`. The last one is a `pandas.DataFrame`."""


def write_suspects(
    path: Path,
    split: Split,
    found: Detection,
    *,
    all_rows: bool = False,
    files: np.ndarray | None = None,
    known: Corrections | None = None,
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
        known: Rows that a person has decided; they are written, too, with their right labels, and are no suspects.
    """
    suspected = Corrections(found.suspects, found.suggested_labels[found.suspects])
    told = suspected_corrections(suspected, split.labels, "relabel")
    called = set(told.rows.tolist())
    corrected = dict(zip(told.rows.tolist(), told.labels.tolist(), strict=True))
    if known is not None:
        corrected |= dict(zip(known.rows.tolist(), known.labels.tolist(), strict=True))
        called -= set(known.rows.tolist())
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
            values = [row, given, int(found.suggested_labels[row]), score, int(row in called), kept]
            writer.writerow(values if named is None else [*values, named.name(row)])
    write_text(path, buffer.getvalue())


def read_flagged(
    path: Path,
    rows: int,
    num_classes: int,
    given_labels: np.ndarray | None = None,
    files: np.ndarray | None = None,
    class_names: Sequence[str] | None = None,
) -> Corrections:
    """Reads a file of flagged rows.

    Passes on an `InputError` if the file is missing or malformed; the message names the line.

    Args:
        path: A CSV file with the columns `row` and `corrected_label`; an empty label removes the row. A column
            `given_label` is checked, others are ignored. Of rows that are image files, a column `file` may stand for
            `row`; beside it, it is checked. What pandas and spreadsheets make of such a file is read, too: labels such
            as 4.0, lines without values, semicolons between values. Cleanlab's table of issues flags the rows with
            `is_label_issue`, which get their `predicted_label` or, where there is no other, are removed. Also what
            other programs export (`.json`, `.xml`, `.zip`); see `unlearning.review.exchange`.
        rows: Number of training rows.
        num_classes: Number of classes.
        given_labels: The labels of the training rows, for that check; None leaves it out.
        files: Paths of the training images; None where they are no files, or not known.
        class_names: Names of the classes, which may stand for labels.

    Returns:
        The corrections.
    """
    reading = _Reading(str(path), rows, num_classes, given_labels, files, class_names)
    if is_export(path):
        return reading.collect(_told_by_tool(read_decisions("flagged", path), str(path)), by_name=True)
    with open_csv("flagged", path, _LONGEST_CSV, foreign=True) as reader:
        return reading.collect(_told_in_table(reader, reading))


def take_flagged(
    flagged: Flagged | None,
    train: Split,
    num_classes: int,
    files: np.ndarray | None = None,
    class_names: Sequence[str] | None = None,
) -> Corrections:
    """Returns flagged rows as corrections, whatever form they come in.

    Args:
        flagged: Corrections, `{row: label}`, `(rows, labels)`, a table (`pandas.DataFrame`) with the columns of
            `read_flagged` (of cleanlab's, the index numbers the rows), or the path of such a file; None for no row. A
            label of None or -1 takes the row out; one label may stand for all rows.
        train: The training rows with their given labels.
        num_classes: Number of classes.
        files: Paths of the training images, where they are files.
        class_names: Names of the classes, which may stand for labels in tables and files.

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
        return read_flagged(Path(flagged), len(train), num_classes, train.labels, files, class_names)
    if isinstance(flagged, Mapping):
        flagged = list(flagged), list(flagged.values())
    if isinstance(flagged, tuple) and len(flagged) == 2:
        rows = np.asarray(flagged[0])
        labels = np.array([REMOVED if label is None else label for label in np.atleast_1d(flagged[1])])
        return Corrections(rows, np.repeat(labels, len(rows)) if np.ndim(flagged[1]) == 0 else labels)
    if hasattr(flagged, "to_csv") and hasattr(flagged, "columns"):
        # As text, so that a table is checked like a file; a label missing somewhere has made the others floats.
        kept = flagged[[name for name in _READ if name in flagged.columns]].convert_dtypes()
        text = kept.to_csv(index=_ISSUE in flagged.columns, index_label="")
        source = "the table of flagged rows"
        reading = _Reading(source, len(train), num_classes, train.labels, files, class_names)
        return reading.collect(_told_in_table(csv.DictReader(io.StringIO(text)), reading))
    forms = "{row: label}, (rows, labels), Corrections, a table with the columns row and corrected_label, or its path"
    raise InputError("flagged", forms, type(flagged).__name__)


class _Told(NamedTuple):
    """What a file says of a row, as text: its number, its file, its right label and its given one, each perhaps not."""

    where: str
    row: str
    file: str
    label: str
    given: str


class _Reading:
    """What a file of flagged rows is read against; see `read_flagged` for the arguments."""

    def __init__(
        self,
        source: str,
        rows: int,
        num_classes: int,
        given_labels: np.ndarray | None,
        files: np.ndarray | None,
        class_names: Sequence[str] | None,
    ) -> None:
        self.source, self.rows, self.num_classes, self.given = source, rows, num_classes, given_labels
        self.named = None if files is None else RowFiles(files)
        names = [str(name).strip() for name in class_names or range(num_classes)]
        self.numbers = {name: number for number, name in enumerate(names)}

    def collect(self, told: Iterable[_Told], *, by_name: bool = False) -> Corrections:
        """Checks what is told of rows.

        Args:
            told: One entry a row.
            by_name: Whether labels are names of classes, even where these look like numbers.

        Returns:
            The corrections.

        Raises:
            InputError: If an entry is about no row, or there is none.
        """
        found: dict[int, int] = {}
        for one in told:
            row = self._row(one, loosely=by_name)
            if self.given is not None and one.given and not self._is_label(one.given, int(self.given[row]), by_name):
                raise InputError(
                    f"{one.where}: training row {row} has the label {self.given[row]}, not the given_label "
                    f"{one.given.strip()[:50]!r}: the file is about other data, or another --data-seed."
                )
            if row in found:
                raise InputError(f"{one.where}: row {row} is flagged twice.")
            found[row] = self._label(one, by_name) if one.label.strip() else REMOVED
        if not found:
            raise InputError(f"{self.source} flags no row.")
        return Corrections(np.array(list(found)), np.array(list(found.values())))

    def _row(self, told: _Told, loosely: bool) -> int:
        if self.named is not None and told.file and not told.row.strip():
            return self.named.row(told.file, told.where, loosely=loosely)
        row = _integer(told.row, f"{told.where}: row (they count within the training split)", 0, self.rows)
        if self.named is not None and told.file:
            self.named.check(row, told.file, told.where)
        return row

    def _label(self, told: _Told, by_name: bool) -> int:
        number = self.numbers.get(told.label.strip())
        text = _whole(told.label)
        if number is not None and (by_name or not text.isdigit()):
            return number
        if by_name:
            raise InputError(f"{told.where}: expected the name of a class, received {told.label[:50]!r}.")
        return _integer(text, f"{told.where}: corrected_label", 0, self.num_classes)

    def _is_label(self, text: str, label: int, by_name: bool) -> bool:
        return (not by_name and _whole(text) == str(label)) or self.numbers.get(text.strip()) == label


def _told_by_tool(decisions: Iterable[Decision], source: str) -> Iterator[_Told]:
    for one in decisions:
        number = "" if one.row is None else str(one.row)
        name = number or one.file or ""
        yield _Told(f"{source}, row {name[:100]!r}", number, one.file or "", one.label or "", one.given or "")


def _told_in_table(reader: csv.DictReader[str], reading: _Reading) -> Iterator[_Told]:
    """Yields what a table says, its own or cleanlab's; raises `InputError` if it is neither, or a line is broken."""
    columns = set(reader.fieldnames or ())
    issues = _ISSUE in columns and "corrected_label" not in columns
    missing = set() if issues else set(_NEEDED) - columns
    if reading.named is not None and "file" in columns:
        missing -= {"row"}
    if missing:
        raise InputError(f"{reading.source} lacks the column {' and '.join(sorted(missing))} in its first line.")
    number = -1
    for record in reader:
        if not any(value.strip() for value in record.values() if isinstance(value, str)) and None not in record:
            continue  # a line of a spreadsheet that was emptied
        number += 1
        where = f"{reading.source}, line {reader.line_num}"
        if None in record or any(record[name] is None for name in columns.intersection(_READ)):
            raise InputError(f"{where}: expected as many values as columns.")
        given, file = record.get("given_label", ""), record.get("file", "")
        if not issues:
            yield _Told(where, record.get("row", ""), file, record["corrected_label"], given)
        elif record[_ISSUE].strip().lower() in ("true", "1", "1.0"):
            row = record.get("row") or record.get("") or str(number)  # pandas writes its index without a name
            predicted = record.get("predicted_label", "")
            yield _Told(where, row, file, "" if _whole(predicted) == _whole(given) else predicted, given)


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
