"""How every file is written and opened: whole or not at all, of known size, and with its name in every error."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import os
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from unlearning.errors import InputError

_LONGEST_LINE = 2**16

PARTIAL = ".partial-"
"""How names of unfinished files begin."""


@contextlib.contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Lets a file be written aside and puts it in place when all went well: the old content or the whole new one.

    Args:
        path: The file; its folder is made where there is none.

    Yields:
        Where to write, in the same folder and with the same suffixes.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=PARTIAL, suffix="".join(path.suffixes))
    os.close(handle)
    aside = Path(name)
    try:
        yield aside
        aside.chmod(0o666 & ~_umask())  # temporary files are private; results are for others to read
        _sync(aside)
        os.replace(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    _sync(path.parent)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes a text file, as `writing` does."""
    with writing(path) as aside:
        aside.write_text(text, encoding="utf-8")


def write_table(path: str | os.PathLike[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes rows as CSV; the columns are the keys of all rows, in the order of their first appearance."""
    import pandas as pd

    buffer = io.StringIO()
    pd.DataFrame(list(rows)).to_csv(buffer, index=False)
    write_text(path, buffer.getvalue())


def check_file(argument: str, path: str | os.PathLike[str], limit: int, what: str = "file") -> Path:
    """Returns a path that can be opened without surprises.

    Args:
        argument: Name of the argument, for messages.
        path: The file.
        limit: Most bytes it may have.
        what: What is expected, for messages, such as `.npz file`.

    Raises:
        InputError: If it is missing, no regular file, or larger.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(argument, f"an existing {what}", str(path))
    size = path.stat().st_size
    if size > limit:
        raise InputError(argument, f"at most {limit} bytes", f"{size} bytes in {path}")
    return path


def read_text(argument: str, path: str | os.PathLike[str], limit: int, what: str = "file") -> str:
    """Reads a text file in UTF-8; arguments and errors as `check_file`."""
    path = check_file(argument, path, limit, what)
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"Cannot read {path} as text: {error}") from error


def read_toml(argument: str, path: str | os.PathLike[str], limit: int) -> dict[str, Any]:
    """Reads a TOML file.

    Args:
        argument: Name of the argument, for messages.
        path: The file.
        limit: Most bytes it may have.

    Returns:
        Its content, as `tomllib` gives it.

    Raises:
        InputError: If it is missing, too large, or no TOML.
    """
    text = read_text(argument, path, limit, "TOML file")
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:  # brackets in brackets in brackets
        raise InputError(f"Cannot read {path} as TOML: {error}") from error


@contextlib.contextmanager
def open_csv(
    argument: str, path: str | os.PathLike[str], limit: int, *, foreign: bool = False
) -> Iterator[csv.DictReader]:
    """Opens a CSV file whose first line names every column once.

    Args:
        argument: Name of the argument, for messages.
        path: The file.
        limit: Most bytes it may have.
        foreign: Take what spreadsheets and pandas write, too: semicolons or tabs between values, and in front a column
            without a name, which numbers the lines.

    Yields:
        A reader of its rows as mappings.

    Raises:
        InputError: If it is missing, too large, or no such file; also for what is found while it is read.
    """
    path = check_file(argument, path, limit, "CSV file")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            between = ","
            if foreign:
                first = file.readline(_LONGEST_LINE)
                between = next((mark for mark in ";\t" if "," not in first and mark in first), ",")
                file.seek(0)
            reader = csv.DictReader(file, strict=True, delimiter=between)
            columns = list(reader.fieldnames or ())[1 if foreign and (reader.fieldnames or ("x",))[0] == "" else 0 :]
            if not columns:
                raise InputError(f"{path} has no first line with the names of columns.")
            for name in columns:
                if not name or columns.count(name) > 1:
                    wrong = f"the column {name} twice" if name else "a column without a name"
                    raise InputError(f"{path} has {wrong} in its first line.")
            yield reader
    except UnicodeDecodeError as error:
        raise InputError(f"Cannot read {path} as CSV: it is not in UTF-8 (a spreadsheet saves it as such).") from error
    except csv.Error as error:
        raise InputError(f"Cannot read {path} as CSV: {error}") from error


def read_table(path: str | os.PathLike[str], limit: int = 64 * 2**20) -> list[dict[str, str]]:
    """Reads a whole CSV file as `open_csv` does; a file that is not there has no rows.

    Returns:
        One mapping a row, from column to text.

    Raises:
        InputError: If it is no such file, too large, or a line has not as many values as there are columns.
    """
    if not Path(path).exists():
        return []
    rows = []
    with open_csv(Path(path).name, path, limit) as reader:
        for row in reader:
            if None in row or None in row.values():
                raise InputError(f"{path}, line {reader.line_num}: expected as many values as columns.")
            if any("\0" in value for value in row.values()):
                raise InputError(f"{path}, line {reader.line_num}: it holds a null character.")
            rows.append(row)
    return rows


def file_sha256(path: Path) -> str:
    """Returns the SHA-256 of a file's bytes, as hexadecimal text."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_writable(folder: Path) -> None:
    """Raises `InputError` if a folder cannot be made or written to; leaves nothing behind."""
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise InputError(f"Cannot write to {folder}: {existing} is not a writable folder.")


def check_outputs(paths: Sequence[Path], force: bool) -> None:
    """Raises `InputError` if files of one folder exist (unless `force`) or cannot be written; leaves nothing behind."""
    for path in paths:
        if path.exists() and not force:
            raise InputError(f"{path} exists. Pass --force to replace it.")
    check_writable(paths[0].parent)


def is_plain(path: Path) -> bool:
    """Whether a path is a file of its own: there, no folder or device, and no link to one elsewhere."""
    return path.is_file() and not path.is_symlink()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync(path: Path) -> None:
    """Puts a file's (or folder's) content on the disk, where the file system can."""
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
