"""Lists of image files and labels, as official data sets have them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from unlearning.data.division import draw_rows
from unlearning.data.image_files import leaves
from unlearning.errors import InputError, invalid


def open_folder(root: str | os.PathLike[str]) -> Path:
    """Returns a folder that exists."""
    if not os.fspath(root) or not Path(root).is_dir():
        raise invalid("data", "an existing folder", os.fspath(root))
    return Path(root)


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yields the lines of a text file that are not blank, with their numbers (from 1)."""
    if not path.is_file():
        raise invalid("data", "an existing list", str(path))
    empty = True
    try:
        with open(path, encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if line := line.strip():
                    empty = False
                    yield number, line
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"Cannot read the list {path}: {error}") from error
    if empty:
        raise invalid(path.name, "at least one line", "an empty list")


def _checked_path(file: Path, number: int, path: str) -> str:
    if leaves(path):
        raise invalid(f"{file.name}, line {number}", "a path inside the data set's folder", path)
    return path


def read_labelled(file: Path, num_classes: int) -> Iterator[tuple[int, str, int]]:
    """Yields line number, path and label of the lines "path label"."""
    for number, line in read_lines(file):
        place = f"{file.name}, line {number}"
        path, _, text = line.replace("\t", " ").rpartition(" ")
        try:
            label = int(text)
        except ValueError:
            raise invalid(place, "a path and an integer label, with a space between them", line) from None
        if not path.strip():
            raise invalid(place, "a path and an integer label, with a space between them", line)
        if not 0 <= label < num_classes:
            raise invalid(place, f"a label in 0..{num_classes - 1}", label)
        yield number, _checked_path(file, number, path.strip()), label


def read_label_table(file: Path, num_classes: int) -> dict[str, int]:
    """Reads lines "path label" as a mapping."""
    labels: dict[str, int] = {}
    for number, path, label in read_labelled(file, num_classes):
        if labels.setdefault(path, label) != label:
            raise invalid(f"{file.name}, line {number}", f"one label a path ({path} has {labels[path]} above)", label)
    return labels


def read_keyed(file: Path, labels: dict[str, int]) -> tuple[list[str], np.ndarray]:
    """Reads a list of paths and looks up their labels."""
    paths: list[str] = []
    found: list[int] = []
    for number, line in read_lines(file):
        path = _checked_path(file, number, line)
        if path not in labels:
            raise invalid(f"{file.name}, line {number}", "a path that has a label", path)
        paths.append(path)
        found.append(labels[path])
    return paths, np.array(found)


def draw_paths(paths: list[str], labels: np.ndarray, train_rows: int | None, seed: int) -> tuple[list[str], np.ndarray]:
    """Draws the training rows to keep, before anything is looked up on disk."""
    if train_rows is None:
        return paths, labels
    rows = draw_rows(len(paths), train_rows, seed)
    return [paths[row] for row in rows], labels[rows]
