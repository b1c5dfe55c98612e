"""Lists of rows: too long for JSON. An archive of arrays holds them, and the record their counts and hashes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from unlearning.archives import read_arrays
from unlearning.errors import InputError
from unlearning.files import check_file, writing
from unlearning.records.repairs import RepairResults, RowList, UnlearningResults

LARGEST_FILE = 2**30
"""No archive of row lists has more bytes."""

_IN_DETAILS = ("forget_rows", "trusted_rows")  # where records of version 0.1 have them, as JSON


def write_rows(path: Path, rows: Mapping[str, np.ndarray]) -> dict[str, RowList]:
    """Writes lists of row numbers.

    Args:
        path: The `.npz` file.
        rows: int64 arrays by name; those of a chain's stages as `stage.name`.

    Returns:
        What the record says of them.
    """
    arrays = {name: np.asarray(numbers, dtype=np.int64) for name, numbers in rows.items()}
    with writing(path) as aside, aside.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # the names are the caller's
    return {name: describe_rows(numbers) for name, numbers in arrays.items()}


def describe_rows(rows: np.ndarray) -> RowList:
    """Returns the count and hash of a list of row numbers."""
    content = np.ascontiguousarray(rows, dtype="<i8").tobytes()
    return RowList(count=len(rows), sha256=hashlib.sha256(content).hexdigest())


def read_rows(path: Path, results: UnlearningResults | RepairResults) -> dict[str, np.ndarray]:
    """Reads the row lists of a repair, wherever its version has them.

    Args:
        path: The `.npz` file; it need not exist where the record itself holds the lists, or where there are none.
        results: The record.

    Returns:
        int64 arrays by name.

    Raises:
        InputError: If the file is missing or damaged, or holds other rows than those recorded.
    """
    if not results.rows:
        return {name: np.asarray(rows, dtype=np.int64) for name, rows in _from_details(path, results.details).items()}
    arrays = read_arrays(check_file("rows", path, LARGEST_FILE, ".npz file"))
    if set(arrays) != set(results.rows):
        raise InputError(f"{path} holds {_named(arrays)}; the record names {_named(results.rows)}.")
    for name, rows in arrays.items():
        if rows.dtype != np.int64 or rows.ndim != 1 or describe_rows(rows) != results.rows[name]:
            raise InputError(f"{path} holds other {name} than those recorded.")
    return arrays


def _from_details(path: Path, details: dict[str, Any]) -> dict[str, list[int]]:
    found = {}
    stages = [(f"{name}.", value) for name, value in details.items() if isinstance(value, dict)]
    for prefix, values in [("", details), *stages]:
        for name in _IN_DETAILS:
            rows = values.get(name)
            if rows is None:
                continue
            if not isinstance(rows, list) or any(type(row) is not int for row in rows):
                raise InputError(f"{path.parent} has {prefix}{name} in its record that are no row numbers.")
            found[prefix + name] = rows
    return found


def _named(lists: Mapping[str, Any]) -> str:
    return ", ".join(sorted(lists)) or "nothing"
