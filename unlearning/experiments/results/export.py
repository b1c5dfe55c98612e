"""Results as one table for other programs: a row a repair, a column a number."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from unlearning.errors import InputError
from unlearning.experiments.results.columns import COLUMNS, count_seeds, gold_of
from unlearning.experiments.results.reader import read_folders
from unlearning.experiments.results.tree import Own, Repair
from unlearning.files import check_outputs, write_text
from unlearning.methods.described import information
from unlearning.records import RepairResults, UnlearningResults
from unlearning.records.reference import NOTES, SOURCE, ReferenceResults

OURS = "keras-unlearning"
_DERIVED = tuple(name for name, column in COLUMNS.items() if column.derived)
_LEAD = ("source", "experiment", "budget", "seed", "folder", "information", "seeds", *_DERIVED)
_REFERENCE_COLUMNS = ("# Poisoned Labels", "method", "seed", "acc_before", "ACC after fix", "# Gradients", "Time (s)")


def export_results(
    folders: Sequence[Path], out: Path, *, form: Literal["tidy", "reference"] = "tidy", force: bool = False
) -> list[Repair | Own]:
    """Writes the repairs below folders as CSV.

    The form `tidy` has a column for every scalar field of the records, named by its path with dots
    (`work.gradient_rows`, `config.hyperparameters.steps`, `train.model`, `poison.noise`); lists are left out. Numbers
    have all their digits; what is not known is empty. `information` is what the repair was told of bad rows: `nothing`,
    `bad rows` or their `right labels`. `seeds` counts the seeds in which the repair was made in the same experiment and
    with the same budget; `gain`, `gap` and `training_share` are those of `columns.COLUMNS`, as fractions. Rows of the
    published implementation say so in the column `source` and carry `note`, since some of their fields mean something
    else (see `reference.NOTES`). Where there are repairs of own models only, they have a row each, by the path of their
    record.

    The form `reference` has the columns that the published implementation exports, unnamed row number included. There,
    accuracies of our repairs are on the test split.

    Args:
        folders: Folders of any level; see `read_folders`.
        out: The CSV file; either the old one or the whole new one.
        form: `tidy` or `reference`.
        force: Replace an existing file.

    Returns:
        The repairs, in the order of the rows.

    Raises:
        InputError: If there are no repairs, a file is damaged, or `out` exists; nothing is written then.
    """
    if out.suffix != ".csv":
        raise InputError("out", "a path ending in .csv, after the folders", str(out))
    check_outputs((out,), force)
    tree = read_folders(folders, strict=True)
    repairs, own = tree.repairs(), [one for one in tree.own() if isinstance(one.results, RepairResults)]
    where = ", ".join(map(str, folders))
    if not repairs and not own:
        detected = " What `detect` found is in its own CSV file." if tree.own() else ""
        raise InputError(f"There is no unlearning_results.json, and no record of `repair`, below {where}.{detected}")
    if not repairs and form == "reference":
        raise InputError(f"Below {where} are repairs of own models only, for which --format reference has no columns.")
    if repairs:
        own = []  # a table of experiments stays one
    write_text(out, _tidy(repairs, own) if form == "tidy" else _as_reference(repairs))
    return [*repairs, *own]


def tidy_row(repair: Repair) -> dict[str, Any]:
    """Returns the scalar fields of a repair under flat names.

    Args:
        repair: The repair.

    Returns:
        Names to text, numbers, booleans and None.
    """
    results = repair.results
    assert results is not None  # only finished repairs are exported
    row: dict[str, Any] = {
        "source": SOURCE if isinstance(results, ReferenceResults) else OURS,
        "experiment": repair.experiment,
        "budget": repair.budget,
        "seed": repair.seed,
        "folder": repair.name,
    }
    if isinstance(results, ReferenceResults):
        row["method"] = repair.name
        row |= results.model_dump()
        if results.diverged or results.acc_after_fix < 0:
            row |= {"acc_after_fix": None, "acc_perc_restored": None}
        return row | {"note": "; ".join(NOTES)}
    row["information"] = information(results.method, results.config.hyperparameters)
    row |= _flatten(results)
    for prefix, config in (("train", repair.training.config), ("poison", repair.training.poison_config)):
        if config is not None:
            row |= {f"{prefix}.{name}": value for name, value in _flatten(config).items()}
    return row


def own_row(own: Own) -> dict[str, Any]:
    """Returns the scalar fields of the repair of a user's own model under flat names."""
    results = own.results
    assert isinstance(results, RepairResults)
    told = information(results.method, results.hyperparameters)
    return {"source": OURS, "folder": own.name, "information": told} | _flatten(results)


def _derive(repairs: Sequence[Repair]) -> list[dict[str, Any]]:
    """What a row holds that the record alone does not say; see `columns`."""
    gold = gold_of(((r.experiment, r.budget, r.seed), r.ours) for r in repairs if r.ours is not None)
    seeds = count_seeds([((r.experiment, r.budget, r.label), r.seed) for r in repairs])
    rows = []
    for repair in repairs:
        ours, beside = repair.ours, gold.get((repair.experiment, repair.budget, repair.seed))
        row: dict[str, Any] = {"seeds": seeds[repair.experiment, repair.budget, repair.label]}
        if ours is not None:
            row |= {name: COLUMNS[name].value(ours, beside) for name in _DERIVED}
        rows.append(row)
    return rows


def _flatten(record: BaseModel) -> dict[str, Any]:
    flat: dict[str, Any] = {}

    def walk(value: Any, name: str) -> None:
        if isinstance(value, dict):
            for key, item in value.items():
                walk(item, f"{name}.{key}" if name else key)
        elif not isinstance(value, list):
            flat[name] = value

    walk(record.model_dump(mode="json", by_alias=True), "")
    return flat


def _tidy(repairs: Sequence[Repair], own: Sequence[Own]) -> str:
    rows = [tidy_row(repair) | derived for repair, derived in zip(repairs, _derive(repairs), strict=True)]
    rows += map(own_row, own)
    order = [*_LEAD, *(name for name in UnlearningResults.model_fields if name not in _LEAD), "train", "poison", "note"]
    position = {name: number for number, name in enumerate(order)}
    names = {name for row in rows for name in row}
    columns = sorted(names, key=lambda name: (position.get(name.partition(".")[0], len(order)), name))
    return _csv([columns, *([row.get(name) for name in columns] for row in rows)])


def _as_reference(repairs: Sequence[Repair]) -> str:
    ordered = sorted(repairs, key=lambda e: (e.experiment, e.budget, e.seed, e.name))
    rows: list[list[Any]] = [["", *_REFERENCE_COLUMNS]]
    for number, repair in enumerate(ordered):
        r = repair.results
        assert r is not None
        gradients = -1 if r.n_gradients is None else r.n_gradients
        scores = [r.acc_before_fix, r.acc_after_fix, gradients, r.unlearning_duration_s]
        rows.append([number, repair.budget, repair.name, repair.seed, *scores])
    return _csv(rows)


def _csv(rows: Sequence[Sequence[Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerows([[_cell(value) for value in row] for row in rows])
    return buffer.getvalue()


def _cell(value: Any) -> Any:
    """Text that a spreadsheet would take for a formula is marked as text."""
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return f"'{value}"
    return value
