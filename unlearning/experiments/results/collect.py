"""Finding the results of repairs below folders, in an order that does not depend on the file system."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from unlearning.errors import InputError, invalid, printable
from unlearning.experiments.cell import folder as layout
from unlearning.records import UnlearningResults, parse_record, read_raw
from unlearning.records.reference import ReferenceResults, is_reference

_RESULTS = layout.MethodFiles(Path()).results.name


@dataclasses.dataclass(frozen=True)
class Entry:
    """One repair of one cell.

    Attributes:
        experiment: The experiment's folder, relative to the parent of the folder it was found below.
        budget: The cell's budget.
        seed: The cell's seed.
        name: The method's folder: method and variant.
        folder: Where it is.
        results: The scores, ours or the published implementation's.
    """

    experiment: str
    budget: int
    seed: int
    name: str
    folder: Path
    results: UnlearningResults | ReferenceResults


def collect(folders: Sequence[Path]) -> list[Entry]:
    """Reads every `unlearning_results.json` below folders.

    Args:
        folders: Folders of any level: several experiments, one, a cell, or a method.

    Returns:
        The repairs, each once, by experiment, budget, seed and name. May be empty.

    Raises:
        InputError: If a folder is missing, or a file is damaged or stands outside `budget-<B>/seed-<S>/<method>/`.
    """
    found: dict[Path, Entry] = {}
    for root in folders:
        if not root.is_dir():
            raise InputError(f"There is no folder {root}.")
        for path in walk_files(root):
            if path.name == _RESULTS and path.resolve() not in found:
                found[path.resolve()] = _read(path, root.resolve())
    return sorted(found.values(), key=lambda e: (e.experiment, e.budget, e.seed, e.name))


def walk_files(root: Path) -> Iterator[Path]:
    """Yields the files below a folder in sorted order; links to folders are not followed."""
    for folder, names, files in os.walk(root):
        names.sort()
        for name in sorted(files):
            yield Path(folder, name)


def _read(path: Path, root: Path) -> Entry:
    folder = path.resolve().parent
    try:
        experiment, budget, seed = layout.parse_cell(folder.parent)
    except InputError:
        raise invalid("folder", f"{_RESULTS} in budget-<B>/seed-<S>/<method>", str(path)) from None
    content = read_raw(path)
    results: UnlearningResults | ReferenceResults
    if is_reference(content):
        results = parse_record(path, content, ReferenceResults)
    else:
        results = parse_record(path, content, UnlearningResults)
        if (results.budget, results.seed) != (budget, seed):
            raise InputError(f"{path} is of budget {results.budget}, seed {results.seed}: it was moved or changed.")
    inside = experiment.is_relative_to(root)
    label = Path(root.name, experiment.relative_to(root)) if inside else Path(experiment.name)
    return Entry(printable(label.as_posix()), budget, seed, printable(folder.name), path.parent, results)
