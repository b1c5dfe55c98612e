"""Where a file stands in an experiment, by the path grammar of `unlearning.experiments.cell.folder`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from unlearning.errors import InputError
from unlearning.experiments.cell import folder as layout
from unlearning.links import real_path

_NO_METHODS = ("backup", "figures")  # folders inside a cell that are none of a method


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a file stands; all paths are real ones.

    Attributes:
        experiment: The experiment's folder.
        cell: The cell's folder, or None for a clean model's files.
        budget: The cell's budget, or 0.
        seed: The cell's or the clean model's seed, or 0 where all seeds share the clean model.
        inside: The folder in the cell that holds the file (a method's, a detection's, or the user's), or None.
    """

    experiment: Path
    cell: Path | None = None
    budget: int = 0
    seed: int = 0
    inside: Path | None = None


def place(path: Path) -> Place | None:
    """Returns where a file stands, or None where it stands in no experiment."""
    folder = real_path(path.parent)
    if folder == layout.clean_files(folder.parent, None).folder:
        return Place(folder.parent)
    if (seed := layout.parse_clean(folder)) is not None:
        return Place(folder.parent.parent, seed=seed)
    below: Path | None = None
    for cell in (folder, *folder.parents[:2]):
        try:
            experiment, budget, seed = layout.parse_cell(cell)
        except InputError:
            below = cell
            continue
        return Place(experiment, cell, budget, seed, below)
    return None


def room(path: Path) -> layout.Files | None:
    """Returns the layout of the folder that a file stands in, as reached, or None where it is none of an experiment."""
    found, folder = place(path), path.parent
    if found is None:
        return None
    if found.cell is None:
        return layout.TrainedFiles(folder, layout.clean_files(folder, None).model_name)
    if found.inside is None:
        return layout.TrainedFiles(folder, layout.cell_files(folder, 0, 0).model_name)
    if real_path(folder) != found.inside or real_path(folder).name in _NO_METHODS:
        return None
    return layout.DetectionFiles(folder) if real_path(folder).name.startswith("detect-") else layout.MethodFiles(folder)


def names(files: layout.Files) -> set[str]:
    """The names of all paths that a layout class knows, so that a file added there is known here."""
    cls = type(files)
    return {getattr(files, name).name for name, value in vars(cls).items() if isinstance(value, property)}
