"""What lies in a folder of images: splits, classes and files, and what other programs have left there."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Callable
from pathlib import Path

from unlearning.errors import InputError

logger = logging.getLogger(__name__)

_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
_DEBRIS = ("__macosx", "@eadir", "#recycle", "@recycle", "$recycle.bin", "system volume information", "lost+found")
_PARTS = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
}
_DEEPEST = 64
_MOST_WITHOUT = 100_000  # entries below a class folder that are looked at before the first image is found


@dataclasses.dataclass
class Scan:
    """Looks through a folder.

    Attributes:
        root: The folder.
        skipped: Entries that are no images of the user's, relative to the folder.
    """

    root: Path
    skipped: list[str] = dataclasses.field(default_factory=list)

    def subfolders(self, folder: Path) -> list[Path]:
        """Returns the folders in a folder, sorted, less what is hidden or left by other programs."""
        return sorted(Path(entry) for entry in self._entries(folder) if _leads_to(entry.is_dir))

    def images(self, folder: Path) -> list[str]:
        """Returns the image files in a folder at any depth, sorted, as paths relative to `root`.

        Links to folders are not followed.

        Args:
            folder: A folder below `root`, or a link to one.

        Raises:
            InputError: If folders are nested too deeply.
        """
        found: list[tuple[str, ...]] = []
        waiting, seen = [(folder, folder.relative_to(self.root).parts)], 0
        while waiting:
            current, parts = waiting.pop()
            if len(parts) > _DEEPEST:
                raise InputError("data", f"folders nested up to {_DEEPEST} deep", "/".join(parts[:4]) + "/...")
            for entry in self._entries(current):
                seen += 1
                if entry.is_dir(follow_symlinks=False):
                    waiting.append((Path(entry), (*parts, entry.name)))
                elif entry.name.lower().endswith(_SUFFIXES) and _leads_to(entry.is_file):
                    found.append((*parts, entry.name))
            if not found and seen > _MOST_WITHOUT:
                break
        return ["/".join(parts) for parts in sorted(found)]

    def parts(self) -> dict[str, Path]:
        """Returns the folder of each part of the data, `train` among them; none where the folder is not divided.

        Folders named `train` and `test` (`val`, `valid`, `validation`) are parts where they hold folders of images in
        their turn, and nothing else there does.

        Raises:
            InputError: If some folders look like parts and others like classes, or two are the same part.
        """
        found: dict[str, list[Path]] = {}
        others = []
        for folder in self.subfolders(self.root):
            part = _PARTS.get(folder.name.lower())
            if part is None:
                others.append(folder)
            else:
                found.setdefault(part, []).append(folder)
        divided = {part: [one for one in folders if self._has_classes(one)] for part, folders in found.items()}
        if not any(divided.values()):
            return {}
        names = ", ".join(one.name for folders in divided.values() for one in folders)
        classes = [one.name for one in others if self.images(one)]
        if classes or not divided.get("train"):
            raise InputError(
                "data",
                "either class folders, or train/ and test/ (val/, valid/, validation/) with class folders inside",
                f"{self.root} with {names}, which hold folders of images, and {', '.join(classes[:3]) or 'no train/'}",
            )
        for part, folders in found.items():
            if len(divided[part]) > 1:
                raise InputError("data", f"one {part} folder", ", ".join(one.name for one in divided[part]))
            for one in folders:
                if one not in divided[part]:
                    logger.warning("%s is left out: it has no class folders.", one)
        return {part: folders[0] for part, folders in divided.items() if folders}

    def report(self) -> None:
        """Says how much was skipped."""
        if self.skipped:
            logger.warning(
                "%s: skipped %d hidden files, hidden folders or leftovers of other programs, such as %s.",
                self.root,
                len(self.skipped),
                self.skipped[0],
            )

    def _has_classes(self, folder: Path) -> bool:
        """Whether images lie in subfolders only."""
        direct = any(e.name.lower().endswith(_SUFFIXES) and _leads_to(e.is_file) for e in self._entries(folder))
        return not direct and any(self.images(subfolder) for subfolder in self.subfolders(folder))

    def _entries(self, folder: Path) -> list[os.DirEntry[str]]:
        """The entries of a folder that are the user's own; of the others, images and folders are counted."""
        try:
            with os.scandir(folder) as entries:
                listed = list(entries)
        except OSError as error:
            raise InputError(f"Cannot look into the folder {folder}: {error.strerror}.") from error
        kept = []
        for entry in listed:
            if not entry.name.startswith(".") and entry.name.lower() not in _DEBRIS:
                kept.append(entry)
            elif entry.name.lower().endswith(_SUFFIXES) or entry.is_dir(follow_symlinks=False):
                path = os.path.relpath(entry.path, self.root)
                if path not in self.skipped:
                    self.skipped.append(path)
        return kept


def _leads_to(kind: Callable[[], bool]) -> bool:
    """Whether an entry is a file or folder, or a link to one; a link to itself is neither."""
    try:
        return kind()
    except OSError:
        return False
