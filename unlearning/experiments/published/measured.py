"""The numbers of a published table, from the records in a folder."""

from __future__ import annotations

from pathlib import Path

from unlearning.experiments.cell import folder as layout
from unlearning.experiments.published.config import SEEDS, PublishedTable
from unlearning.experiments.results.columns import COLUMNS, GOLD, gold_of
from unlearning.experiments.results.compare import mean_std
from unlearning.experiments.results.reader import read_folders
from unlearning.links import real_path
from unlearning.records import UnlearningResults
from unlearning.records.comparison import Summary

Numbers = dict[str, dict[str, Summary]]
"""By the key of a row and the name of a column, in the column's unit."""


def measure(table: PublishedTable, folder: Path) -> Numbers:
    """Reads the numbers of a table.

    Passes on an `InputError` if there is no such folder, or a record in it is damaged.

    Args:
        table: The table.
        folder: An experiment's folder, or one with several.

    Returns:
        Mean and standard deviation over seeds of each number; of `clean` over clean models, of which version 0.1
        trained one for all seeds. A row that nothing was found of has a count of 0.
    """
    seeds = {seed for run in table.runs for seed in run.seeds}
    names = {row.folder for row in table.table.rows} | {GOLD}
    found: dict[str, dict[int, UnlearningResults]] = {}
    gold: dict[tuple[str, int], UnlearningResults] = {}
    shared = set()
    for experiment in read_folders([folder], strict=True).experiments:
        within = experiment.folder.relative_to(real_path(folder)).as_posix()
        prefix = "" if within == "." else f"{within}/"
        if layout.has_one_clean(experiment.folder):
            shared.add(prefix)
        own = [
            (repair.name, repair.seed, results)
            for cell in experiment.cells
            if cell.budget == table.budget and cell.seed in seeds
            for repair in cell.repairs
            if repair.name in names and (results := repair.ours) is not None
        ]
        gold |= gold_of(((prefix, seed), results) for _, seed, results in own)
        for name, seed, results in own:
            found.setdefault(prefix + name, {})[seed] = results
    numbers: Numbers = {}
    for row in table.table.rows:
        prefix = f"{row.within}/" if row.within else ""
        numbers[row.key] = {}
        for name in table.table.columns:
            if name == SEEDS:
                continue
            column = COLUMNS[name]
            results_by_seed = sorted(found.get(row.key, {}).items())
            if name == "clean" and prefix in shared:
                results_by_seed = results_by_seed[:1]
            values = [column.value(results, gold.get((prefix, seed))) for seed, results in results_by_seed]
            known = [column.scale * value for value in values if value is not None]
            mean, std = mean_std(known)
            numbers[row.key][name] = Summary(count=len(known), mean=mean, std=std)
    return numbers
