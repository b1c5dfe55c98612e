"""Folders from a stranger, and links in them: nothing leaves one that way, not even by a later link."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from unlearning.errors import InputError

_KEPT: list[Path] = []
"""Folders of `keeping_real`, each as often as it is kept."""


def real_path(path: str | os.PathLike[str]) -> Path:
    """Returns where a path really is, through all links; of links in a circle, their own place.

    `Path.resolve` raises a `RuntimeError` for these until Python 3.13.
    """
    return Path(os.path.realpath(path))


def real_below(root: Path, path: Path, *, alone: bool = False) -> Path:
    """Returns a path that stays in a folder from a stranger: nothing on its way is a link.

    This is the one guard before anything in such a folder is read, written, locked or removed. How `root` itself was
    reached is the user's choice, and what is not there yet may be made.

    Args:
        root: The folder, such as an experiment.
        path: The folder itself, or a file or folder below it.
        alone: Whether a file may have no second name (hard link), for files that are written in place or removed.

    Returns:
        The path.

    Raises:
        InputError: If the path leaves the folder, or passes through a link or a file, or ends in a pipe or device.
    """
    if not path.is_relative_to(root) or ".." in (parts := path.relative_to(root).parts):
        raise InputError(f"{path} does not stand in {root}.")
    place, mode = root, stat.S_IFDIR
    for number, part in enumerate(parts, 1):
        place = place / part
        try:
            there = place.lstat()
        except FileNotFoundError:
            return path
        mode = there.st_mode
        if stat.S_ISLNK(mode):
            raise InputError(f"{place} is a link; it is not followed.")
        if number < len(parts) and not stat.S_ISDIR(mode):
            raise InputError(f"{place} is no folder.")
        if alone and stat.S_ISREG(mode) and there.st_nlink > 1:
            raise InputError(f"{place} has a second name elsewhere (a hard link); it is not touched.")
    if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
        raise InputError(f"{path} is neither a file nor a folder.")
    return path


@contextlib.contextmanager
def keeping_real(root: Path) -> Iterator[None]:
    """Lets nothing below a folder be written or removed through a link, even through one that is put there later.

    What `real_below` found when a run began may be another thing hours later.

    Args:
        root: The folder.
    """
    _KEPT.append(root)
    try:
        yield
    finally:
        _KEPT.remove(root)


def still_real(path: str | os.PathLike[str]) -> Path:
    """Returns a path that is about to be written or removed.

    Passes on the `InputError` of `real_below` if it leads through a link within a folder of `keeping_real`.

    Args:
        path: The file or folder.
    """
    path = Path(path)
    for root in tuple(_KEPT):
        if path.is_relative_to(root):
            real_below(root, path)
    return path
