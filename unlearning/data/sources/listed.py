"""Sets with real label noise that do not fit into memory: a folder with lists of paths, named as `kind:DIR`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np

from unlearning.data.base import Source
from unlearning.data.division import draw_rows
from unlearning.data.image_data import ImageData
from unlearning.data.image_files import IMAGE_SIZE, leaves
from unlearning.data.settings import DataSettings
from unlearning.errors import InputError
from unlearning.files import check_file

# The largest lists there are, WebVision's, have 2.4 million lines and 100 MB.
_LARGEST_LIST = 2**28
_MOST_LINES = 5_000_000
_LONGEST_LINE = 4096


class Listed(Source):
    """A set in the folder behind the colon."""

    kind: ClassVar[str]
    """What stands before the colon; also the name under which the set is recorded."""
    is_users_own: ClassVar[bool] = True
    draws_rows: ClassVar[bool] = True

    def matches(self, text: str) -> bool:
        """Whether a text begins with the kind and a colon."""
        return text.startswith(f"{self.kind}:")

    def recorded_name(self, text: str) -> str:
        """Returns the kind."""
        return self.kind

    def load(self, text: str, settings: DataSettings) -> ImageData:
        """Finds the folder and loads from it."""
        root = text.partition(":")[2]
        if not root or not Path(root).is_dir():
            raise InputError("data", "an existing folder", root)
        if isinstance(settings.image_size, tuple):
            raise InputError(
                "image_size", f"one number of pixels: images of {self.kind} are squares", settings.image_size
            )
        return self.load_folder(Path(root), settings)

    @staticmethod
    def side(settings: DataSettings) -> int:
        """Returns the side in pixels of the squares that images become."""
        asked = settings.image_size
        return asked if isinstance(asked, int) else IMAGE_SIZE

    def load_folder(self, root: Path, settings: DataSettings) -> ImageData:
        """Loads the set from its folder, which exists."""
        raise NotImplementedError


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yields the lines of a text file that are not blank, with their numbers (from 1).

    Args:
        path: The file.

    Yields:
        Number and line.

    Raises:
        InputError: If it is missing, empty, no text, or file, line or number of lines are too large.
    """
    path = check_file("data", path, _LARGEST_LIST, "list")
    empty = True
    try:
        with open(path, encoding="utf-8-sig") as file:
            # Not `for line in file`, which takes in a whole line, however long it is.
            for number, line in enumerate(iter(lambda: file.readline(_LONGEST_LINE + 1), ""), start=1):
                if len(line) > _LONGEST_LINE:
                    raise InputError(f"{path.name}, line {number}", f"at most {_LONGEST_LINE} characters", "more")
                if number > _MOST_LINES:
                    raise InputError(path.name, f"at most {_MOST_LINES} lines", "more")
                if line := line.strip():
                    empty = False
                    yield number, line
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"Cannot read the list {path}: {error}") from error
    if empty:
        raise InputError(path.name, "at least one line", "an empty list")


def checked_path(file: Path, number: int, path: str) -> str:
    """Returns a path from a list, and raises `InputError` if it leaves the folder."""
    if leaves(path):
        raise InputError(f"{file.name}, line {number}", "a path inside the data set's folder", path)
    return path


def labelled(file: Path, num_classes: int) -> Iterator[tuple[int, str, int]]:
    """Yields line number, path and label of the lines "path label"."""
    for number, line in lines(file):
        place = f"{file.name}, line {number}"
        path, _, text = line.replace("\t", " ").rpartition(" ")
        try:
            label = int(text)
        except ValueError:
            raise InputError(place, "a path and an integer label, with a space between them", line) from None
        if not path.strip():
            raise InputError(place, "a path and an integer label, with a space between them", line)
        if not 0 <= label < num_classes:
            raise InputError(place, f"a label in 0..{num_classes - 1}", label)
        yield number, checked_path(file, number, path.strip()), label


def label_table(file: Path, num_classes: int) -> dict[str, int]:
    """Reads lines "path label" into a mapping."""
    labels: dict[str, int] = {}
    for number, path, label in labelled(file, num_classes):
        if labels.setdefault(path, label) != label:
            raise InputError(
                f"{file.name}, line {number}", f"one label a path ({path} has {labels[path]} above)", label
            )
    return labels


def keyed(file: Path, labels: dict[str, int]) -> tuple[list[str], np.ndarray]:
    """Reads a list of paths and looks up their labels."""
    paths: list[str] = []
    found: list[int] = []
    for number, line in lines(file):
        path = checked_path(file, number, line)
        if path not in labels:
            raise InputError(f"{file.name}, line {number}", "a path that has a label", path)
        paths.append(path)
        found.append(labels[path])
    return paths, np.array(found)


def drawn(paths: list[str], labels: np.ndarray, train_rows: int | None, seed: int) -> tuple[list[str], np.ndarray]:
    """Draws the training rows to keep, before anything is looked up on disk."""
    if train_rows is None:
        return paths, labels
    rows = draw_rows(len(paths), train_rows, seed)
    return [paths[row] for row in rows], labels[rows]
