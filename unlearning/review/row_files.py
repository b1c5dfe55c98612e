"""Rows that are image files: which file is which row, as tables of suspects and flagged rows say it."""

from __future__ import annotations

import collections
import functools
from pathlib import PurePosixPath

import numpy as np

from unlearning.errors import InputError


class RowFiles:
    """The files of the training rows.

    Args:
        paths: Their paths relative to the folder, in row order.
    """

    def __init__(self, paths: np.ndarray) -> None:
        # Names on disk are bytes; what is no UTF-8 is escaped, as a table in UTF-8 could not hold it.
        self._names = [str(path).encode("utf-8", "backslashreplace").decode() for path in paths]
        self._rows = {name: row for row, name in enumerate(self._names)}
        self._counts = collections.Counter(self._names)

    def name(self, row: int) -> str:
        """Returns the file of a row, as tables write it."""
        return self._names[row]

    def names(self) -> list[str]:
        """Returns the files of all rows, as tables write them."""
        return self._names

    def row(self, text: str, where: str, *, loosely: bool = False) -> int:
        """Returns the row of a file.

        Args:
            text: Its path.
            where: What to begin a message with.
            loosely: Whether a path without its suffix, or the mere name, will do where only one file has it.

        Raises:
            InputError: If it is no training row, or several.
        """
        for name in (text, text.strip(), text.strip().replace("\\", "/").removeprefix("./")):
            if self._counts[name] > 1:
                raise InputError(f"{where}: {self._counts[name]} training rows are the file {name!r}: say which row.")
            if name in self._rows:
                return self._rows[name]
        if loosely and self._loose.get(text, -1) >= 0:
            return self._loose[text]
        raise InputError(
            f"{where}: the file {text[:200]!r} is no training row; they are paths within the data set's folder such "
            f"as {self._names[0]!r}. Of a folder without train/ and test/, some files are held out."
        )

    @functools.cached_property
    def _loose(self) -> dict[str, int]:
        """Rows by what other programs leave of a path; -1 where several files leave the same."""
        found: dict[str, int] = {}
        for name, row in self._rows.items():
            path = PurePosixPath(name)
            for left in {str(path.with_suffix("")), path.name, path.stem} - {name}:
                found[left] = -1 if left in found else row
        return found

    def check(self, row: int, text: str, where: str) -> None:
        """Raises `InputError` unless a row is the file that stands beside it."""
        if text.strip() != self._names[row].strip():
            raise InputError(
                f"{where}: training row {row} is the file {self._names[row]!r}, not {text[:200]!r}: the table is about "
                "other data, or another --data-seed."
            )
