"""Walking a folder from a stranger: real files only, in an order that does not depend on the file system."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from unlearning.files import PARTIAL

DEEPEST = 16
MOST_FILES = 200_000


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
