"""How every file is written and opened: whole or not at all, of known size, and with its name in every error."""

from __future__ import annotations

import contextlib
import csv
import errno
import hashlib
import io
import os
import re
import secrets
import socket
import stat
import time
import tomllib
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from unlearning.errors import InputError
from unlearning.links import real_below, still_real

_LONGEST_LINE = 2**16

PARTIAL = ".partial-"
"""How names of unfinished files begin."""
_WRITER = re.compile(
    rf"{re.escape(PARTIAL)}(?:(?P<host>[0-9a-f]{{8}})-(?P<pid>[0-9]{{1,9}})-[0-9a-f]{{8}}|[a-z0-9_]{{8}})(?:\.|$)"
)
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_ABANDONED_S = 24 * 3600.0
LARGEST_TABLE = 5_000_000
"""No table that is held as a whole has more values."""


@contextlib.contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Lets a file be written aside and puts it in place when all went well: the old content or the whole new one.

    What writers left in the same folder that were killed is removed on the way. The file appears in the folder that was
    opened first; if another one, or a link, took that one's place meanwhile, nothing does.

    Args:
        path: The file; its folder is made where there is none.

    Yields:
        Where to write, in the same folder and with the same suffixes.

    Raises:
        InputError: If the folder is another one at the end, or a link on the way to it; see `keeping_real`.
        OSError: If the disk is full; it names the file, whatever library found it out.
    """
    path = still_real(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_stale(path.parent)
    aside = path.with_name(f"{PARTIAL}{_host()}-{os.getpid()}-{secrets.token_hex(4)}{''.join(path.suffixes)}")
    folder = os.open(path.parent, getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY)
    try:
        # Made by the system with what the umask leaves of these, as any other file.
        os.close(os.open(aside.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666, dir_fd=folder))
        yield aside
        still_real(aside)
        if not _is_in(folder, aside):
            raise InputError(f"{path.parent} became another folder while {path.name} was written; nothing was.")
        _sync(aside)
        os.replace(aside.name, path.name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException as error:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(aside.name, dir_fd=folder)
        code = getattr(error, "errno", None)
        if code in _NO_SPACE or os.strerror(errno.ENOSPC) in str(error):  # h5py says it in its text only
            code = code or errno.ENOSPC
            raise OSError(code, os.strerror(code), str(path)) from error
        raise
    finally:
        os.close(folder)
    _sync(path.parent)


def _is_in(folder: int, path: Path) -> bool:
    """Whether the file at a path is the one of that name in an open folder."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return os.path.samestat(os.stat(path.name, dir_fd=folder), os.stat(path))
    return False


def remove_stale(folder: Path) -> None:
    """Removes the unfinished files in a folder whose writers are gone.

    Those of this machine are asked for; what another machine, or an earlier version, left unfinished for a day is taken
    for abandoned. Only files named as `writing` names them.
    """
    with os.scandir(folder) as entries:
        found = [entry for entry in entries if entry.name.startswith(PARTIAL)]
    for entry in found:
        with contextlib.suppress(OSError):  # gone meanwhile, or not ours to remove
            writer = _WRITER.match(entry.name)
            if entry.is_file(follow_symlinks=False) and writer is not None:
                old = time.time() - entry.stat(follow_symlinks=False).st_mtime > _ABANDONED_S
                if old or (writer["host"] == _host() and not is_alive(int(writer["pid"]))):
                    os.unlink(entry.path)


def _host() -> str:
    """Where process numbers mean the same as here, as names of unfinished files have it: this machine or container."""
    space = ""
    with contextlib.suppress(OSError):  # Linux only
        space = os.readlink("/proc/self/ns/pid")
    return f"{zlib.crc32((socket.gethostname() + space).encode()):08x}"


def is_alive(pid: int) -> bool:
    """Whether there is a process of that number on this machine."""
    import psutil

    return 0 < pid < 2**31 and psutil.pid_exists(pid)


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
        InputError: If it is no such file, too large, or a line has not as many values as there are columns; also if it
            has more than `LARGEST_TABLE` values, which take much more memory than the file.
    """
    if not Path(path).exists():
        return []
    rows = []
    for row in iterate_table(path, limit):
        rows.append(row)
        if len(rows) * len(row) > LARGEST_TABLE:
            raise InputError(Path(path).name, f"at most {LARGEST_TABLE} values", f"more in {path}")
    return rows


def iterate_table(path: str | os.PathLike[str], limit: int = 64 * 2**20) -> Iterator[dict[str, str]]:
    """Yields the rows of a CSV file, which must exist, as `read_table` returns them, one at a time.

    Raises:
        InputError: If it is no such file, too large, or a line has not as many values as there are columns.
    """
    with open_csv(Path(path).name, path, limit) as reader:
        for row in reader:
            if None in row or None in row.values():
                raise InputError(f"{path}, line {reader.line_num}: expected as many values as columns.")
            if any("\0" in value for value in row.values()):
                raise InputError(f"{path}, line {reader.line_num}: it holds a null character.")
            yield row


def file_sha256(path: Path) -> str:
    """Returns the SHA-256 of a file's bytes, as hexadecimal text."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe_file(text: str) -> str:
    """Returns the name of a file and the beginning of its hash, for records, which hold no paths; other text as it is.

    Args:
        text: A path, or a name of something that is no file.
    """
    path = Path(text)
    if path.is_file():
        return f"{path.name} (SHA-256 {file_sha256(path)[:16]})"
    return path.name if path.suffix else text


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


def read_below(root: Path, path: Path, limit: int) -> bytes:
    """Reads a file that `real_below` lets pass, and what was checked is what is read.

    Args:
        root: The folder.
        path: The file below it.
        limit: Most bytes it may have.

    Returns:
        Its content.

    Raises:
        InputError: As `real_below`; also if it is no file, or larger.
    """
    real_below(root, path)
    # Swapped for a link since, or for a pipe that nobody writes to: then opening fails, or does not wait.
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    with open(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise InputError(f"{path} is no file.")
        content = file.read(limit + 1)
    if len(content) > limit:
        raise InputError(path.name, f"at most {limit} bytes", f"more in {path}")
    return content


def is_plain(path: Path) -> bool:
    """Whether a path is a file of its own: there, no folder or device, and no link to one elsewhere."""
    return path.is_file() and not path.is_symlink()


def _sync(path: Path) -> None:
    """Puts a file's (or folder's) content on the disk, where the file system can; a disk that is full is an error."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except PermissionError:  # a folder that may be written, but not read
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF, errno.EACCES):
            raise  # the disk is full only now, or broken: what was written is not there
    finally:
        os.close(handle)
