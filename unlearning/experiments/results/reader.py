"""The one reader of experiment folders. Nothing is written or locked, no model is loaded.

A folder may be read while a sweep fills it, and one damaged file must not hide all others: what cannot be read is
among the problems of the tree. `strict=True` raises at the first instead, for numbers that must not be computed from
a part.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from unlearning.errors import InputError, printable
from unlearning.experiments.cell import folder as layout
from unlearning.experiments.results.places import Place, place, room
from unlearning.experiments.results.reading import Files, walk_files
from unlearning.experiments.results.tree import Cell, Detection, Experiment, Own, Repair, Training, Tree
from unlearning.files import is_plain
from unlearning.links import real_path
from unlearning.records import KINDS

_RESULTS = layout.MethodFiles(Path()).results.name


def read_folders(folders: Sequence[Path], *, strict: bool = False) -> Tree:
    """Finds what folders hold; records are read when they are first asked for.

    Args:
        folders: Folders of any level: several experiments, one, a cell, or a method. Configurations above them are
            found, too.
        strict: Raise at the first file that cannot be read, where it is asked for, instead of noting a problem.

    Returns:
        The tree; it may be empty.

    Raises:
        InputError: If a folder is missing; with `strict`, if results of a repair stand in no cell.
    """
    for root in folders:
        if not root.is_dir():
            raise InputError(f"There is no folder {root}.")
    read, finder = Files(strict), _Finder()
    read.roots.update(folders)
    files = []

    def problem(path: Path, message: str) -> None:
        if strict and path.stem in KINDS:
            raise InputError(f"{path} {message}")
        read.problem(path, "path", message)

    for root in folders:
        for path in walk_files(root, problem):
            real = real_path(path.parent) / path.name
            if real in read.reached:
                continue
            read.reached[real] = path
            files.append((path, root))
            if path.suffix == ".json" and "backup" not in path.relative_to(root).parts[:-1]:
                _add(finder, path, real_path(root), read)
    own = [
        Own(printable(path.relative_to(root).with_suffix("").as_posix()), path, read)
        for path, root in files
        if _is_own(path)
    ]
    return Tree(finder.experiments(read), tuple(files), tuple(own), read)


def _is_own(path: Path) -> bool:
    """Whether a file may be the record of a user's own model: beside what was written with it, in no experiment."""
    if path.suffix != ".json" or path.stem in KINDS or place(path) is not None:
        return False
    return any(is_plain(path.with_suffix(suffix)) for suffix in (".keras", ".csv"))


def _add(finder: _Finder, path: Path, root: Path, read: Files) -> None:
    found = place(path)
    is_record = path.stem in KINDS
    if found is not None and (is_record or found.inside is not None or found.cell is not None):
        finder.add(found, path, root)
    if is_record and not (path.parent.name == "figures" and path.stem == "features") and room(path) is None:
        if path.name == _RESULTS:
            expected = f"{_RESULTS} in budget-<B>/seed-<S>/<method>"
            read.fail(path, "path", InputError("folder", expected, str(path)))
        else:
            read.problem(
                path, "path", "its folder is not clean/seed-<S>/, budget-<B>/seed-<S>/ or a method's folder in a cell"
            )


@dataclasses.dataclass
class _FoundCell:
    place: Place
    folder: Path
    methods: dict[str, Path] = dataclasses.field(default_factory=dict)
    detections: list[Path] = dataclasses.field(default_factory=list)


class _Finder:
    """Sorts files into experiments and cells."""

    def __init__(self) -> None:
        self._labels: dict[Path, tuple[str, str]] = {}
        self._cells: dict[Path, dict[Path, _FoundCell]] = {}
        self._seeds: dict[Path, set[int]] = {}

    def add(self, found: Place, path: Path, root: Path) -> None:
        experiment = found.experiment
        cells = self._cells.setdefault(experiment, {})
        self._seeds.setdefault(experiment, set()).add(found.seed)
        if experiment not in self._labels:
            inside = experiment.is_relative_to(root)
            name = Path(root.name, experiment.relative_to(root)) if inside else Path(experiment.name)
            self._labels[experiment] = self._distinct(printable(name.as_posix()))
        if found.cell is None:
            return
        reached = (folder for folder in (path.parent, *path.parent.parents) if real_path(folder) == found.cell)
        folder = next(reached, found.cell)  # above the folder given, or `.`, which has no parents
        cell = cells.setdefault(found.cell, _FoundCell(found, folder))
        if path.name in ("unlearn_config.json", _RESULTS) and found.inside == real_path(path.parent):
            cell.methods[found.inside.name] = path.parent
        elif path.stem not in KINDS or path.stem == "detection_results":
            cell.detections.append(path)

    def _distinct(self, name: str) -> tuple[str, str]:
        taken, label, number = {label for label, _ in self._labels.values()}, name, 1
        while label in taken:
            number += 1
            label = f"{name} ({number})"
        return label, name

    def experiments(self, read: Files) -> tuple[Experiment, ...]:
        found = []
        read.roots.update(self._cells)
        for folder, cells in self._cells.items():
            label, name = self._labels[folder]
            made = sorted((_cell(label, cell, read) for cell in cells.values()), key=lambda c: (c.budget, c.seed))
            files = {seed: layout.clean_of(folder, seed) for seed in sorted(self._seeds[folder])}
            models = {own: Training(own, read) for own in files.values()}
            clean = {seed: models[own] for seed, own in files.items()}
            found.append(Experiment(label, name, folder, clean, tuple(made)))
        return tuple(sorted(found, key=lambda experiment: experiment.label))


def _cell(label: str, found: _FoundCell, read: Files) -> Cell:
    where = found.place
    assert where.cell is not None
    training = Training(layout.cell_files(where.experiment, where.budget, where.seed), read)
    key = label, where.budget, where.seed
    repairs = [Repair(*key, printable(name), folder, training, read) for name, folder in sorted(found.methods.items())]
    mine = {real_path(folder) for folder in found.methods.values()}
    detections = [
        _detection(path, read) for path in sorted(found.detections) if not mine & set(real_path(path).parents)
    ]
    return Cell(*key, found.folder, training, tuple(repairs), tuple(detections), read)


def _detection(path: Path, read: Files) -> Detection:
    files = layout.DetectionFiles(path.parent)
    if path.name == files.results.name:
        return Detection(printable(real_path(path.parent).name), path, files.suspects, files.figure, read)
    return Detection(printable(path.stem), path, path.with_suffix(".csv"), path.with_suffix(".png"), read)
