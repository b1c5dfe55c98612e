"""Where things stand below a folder: walking real files only, and what the path grammar says of a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from unlearning.errors import InputError
from unlearning.experiments.cell import folder as layout

DEEPEST = 16
"""Folders below the one that was asked for; an experiment needs six."""

_NOT_RESULTS = ("backup", "figures")


def walk_files(root: Path, *, hidden: bool = False) -> Iterator[Path]:
    """Yields what is no folder below a folder, in sorted order; no link to a folder is followed.

    Args:
        root: The folder.
        hidden: Also what stands in hidden folders or in the backup of a training, links, unfinished files, pipes and
            the like; without, only real files.
    """
    for folder, names, files in os.walk(root):
        here = Path(folder)
        deep = len(here.relative_to(root).parts) >= DEEPEST
        wanted = (name for name in names if hidden or not (name.startswith(".") or name == "backup"))
        names[:] = [] if deep else sorted(wanted)
        for name in sorted(files):
            path = here / name
            if hidden or (not name.startswith(".") and path.is_file() and not path.is_symlink()):
                yield path


def find_files(folder: Path) -> layout.Files | None:
    """Returns the files that a folder of an experiment has by the path grammar, or None where it is no such folder.

    Args:
        folder: The folder, as it is reached; its names count where it really stands.
    """
    there = folder.resolve()
    if find_cell(there) == there:
        return layout.TrainedFiles(folder, "poisoned_model.keras")
    if there.name == "clean":
        return layout.TrainedFiles(folder, "best_model.keras")
    if find_cell(there) != there.parent or there.name in _NOT_RESULTS:
        return None
    return layout.DetectionFiles(folder) if there.name.startswith("detect-") else layout.MethodFiles(folder)


def find_cell(folder: Path) -> Path | None:
    """Returns the cell's folder that a resolved folder is, or stands in at most two levels below."""
    for place in (folder, *folder.parents[:2]):
        try:
            layout.parse_cell(place)
        except InputError:
            continue
        return place
    return None


def known_names(files: layout.Files) -> set[str]:
    """Returns the names of all paths that a layout class knows, so that a file added there is known here."""
    cls = type(files)
    return {getattr(files, name).name for name, value in vars(cls).items() if isinstance(value, property)}
