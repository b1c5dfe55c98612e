"""Reading a folder from a stranger: real files only, in an order that does not depend on the file system, each once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from unlearning.errors import InputError, printable
from unlearning.files import PARTIAL, read_below
from unlearning.links import real_below
from unlearning.records import parse_record, read_raw
from unlearning.records.base import LARGEST_FILE
from unlearning.records.reference import is_reference
from unlearning.records.validation import Problem

DEEPEST = 16
MOST_FILES = 200_000

R = TypeVar("R", bound=BaseModel)
S = TypeVar("S", bound=BaseModel)


def walk_files(root: Path, problem: Callable[[Path, str], None]) -> Iterator[Path]:
    """Yields the files below a folder in sorted order; hidden folders, links, pipes and devices are left out.

    Args:
        root: The folder.
        problem: Called with what is left out (hidden folders are not mentioned) and why.
    """
    count = 0
    for name, names, files in os.walk(root, onerror=lambda error: problem(Path(error.filename), "cannot be read")):
        folder = Path(name)
        names.sort()
        for link in [name for name in names if (folder / name).is_symlink()]:
            problem(folder / link, "is a link; it is not followed.")
        names[:] = [name for name in names if not name.startswith(".") and not (folder / name).is_symlink()]
        if names and len(folder.relative_to(root).parts) >= DEEPEST:
            problem(folder, f"folders more than {DEEPEST} levels below are not looked at")
            names.clear()
        for file in sorted(files):
            path = folder / file
            count += 1
            if count > MOST_FILES:
                problem(root, f"more than {MOST_FILES} files; the others are not looked at")
                return
            if path.is_symlink():
                problem(path, "is a link; it is not followed.")
            elif not path.is_file():
                problem(path, "is neither a file nor a folder.")
            else:
                yield path


def is_left_over(path: Path) -> bool:
    """Whether an interrupted write left a file behind."""
    return path.name.startswith(PARTIAL)


class Files:
    """Reads records, each once. What cannot be read becomes a problem, or an `InputError` where it is strict."""

    def __init__(self, strict: bool = False) -> None:
        self.strict = strict
        self.reached: dict[Path, Path] = {}
        """How the files found were reached from the folder given, by their real paths."""
        self.foreign: set[Path] = set()
        """Records of the published implementation that were read."""
        self.roots: set[Path] = set()
        """The folders given and the experiments found; nothing is read outside of them, or through a link in them."""
        self._raw: dict[Path, Any] = {}
        self._read: dict[tuple[Path, type[BaseModel]], BaseModel | None] = {}
        self._problems: dict[tuple[str, str, str], Problem] = {}

    @property
    def problems(self) -> list[Problem]:
        """What was wrong with what was read so far, by path."""
        return [self._problems[key] for key in sorted(self._problems)]

    def problem(self, path: Path, kind: str, message: str) -> None:
        """Notes what is wrong with a file."""
        shown = self.reached.get(_key(path), path)
        found = Problem.model_validate(
            {"path": printable(shown.as_posix()), "kind": kind, "message": printable(message)}
        )
        self._problems[found.path, found.kind, found.message] = found

    def fail(self, path: Path, kind: str, error: Exception) -> None:
        """Notes an error as a problem, or raises it where this is strict."""
        if self.strict:
            raise error if isinstance(error, InputError) else InputError(f"Cannot read {path}: {error}") from error
        self.problem(path, kind, reason(error, path))

    def real(self, path: Path) -> Path:
        """Returns a path that may be read; raises `InputError` for links and what is no file, see `real_below`."""
        around = [root for root in self.roots if path.is_relative_to(root)]
        return real_below(max(around, key=lambda root: len(root.parts), default=path.parent), path)

    def raw(self, path: Path) -> Any:
        """Returns the JSON in a file, or None where it is missing or cannot be read."""
        key = _key(path)
        if key not in self._raw:
            self._raw[key] = None
            try:
                real = self.real(path)
            except InputError as error:
                self.fail(path, "path", error)
                return None
            try:
                if real.exists():
                    self._raw[key] = read_raw(path)
                    if self._raw[key] is None:
                        raise InputError(f"{path} holds nothing but null.")
            except (InputError, OSError) as error:
                self.fail(path, "record", error)
        return self._raw[key]

    def record(self, path: Path, kind: type[R]) -> R | None:
        """Returns a record, or None where it is missing or damaged."""
        key = _key(path), kind
        if key not in self._read:
            self._read[key] = None
            content = self.raw(path)
            if content is not None:
                try:
                    self._read[key] = parse_record(path, content, kind)
                except InputError as error:
                    self.fail(path, "record", error)
        found = self._read[key]
        return found if isinstance(found, kind) else None

    def config(self, path: Path, kind: type[R]) -> R | None:
        """As `record`; None for a configuration of the published implementation, too, which names its file."""
        content = self.raw(path)
        return None if isinstance(content, dict) and "_filename" in content else self.record(path, kind)

    def results(self, path: Path, kind: type[R], reference: type[S]) -> R | S | None:
        """As `record`, of either program."""
        if not is_reference(self.raw(path)):
            return self.record(path, kind)
        self.foreign.add(_key(path))
        return self.record(path, reference)

    def content(self, path: Path, kind: str, limit: int = LARGEST_FILE) -> bytes | None:
        """Returns a whole log (`kind` is then `log`) or picture (`figure`), or None where there is none to be read."""
        try:
            real = self.real(path)
            return read_below(real.parent, real, limit) if real.exists() else None
        except (InputError, OSError) as error:
            self.fail(path, kind, error)
            return None


def _key(path: Path) -> Path:
    """What tells files apart, however they are reached; a link, even one to itself, is a file of its own."""
    return Path(os.path.realpath(path.parent), path.name)


def reason(error: Exception, path: Path) -> str:
    """The message of an error without the path, which stands beside it."""
    text = " ".join(str(error).split()).replace(f"{path} ", "").replace(str(path), path.name)
    return text if len(text) <= 300 else f"{text[:297]}..."
