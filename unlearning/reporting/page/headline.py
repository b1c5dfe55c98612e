"""The table at the top of the page: means over seeds, a row for each budget and repair."""

from __future__ import annotations

from typing import Any, get_args

from unlearning.experiments.results.columns import COLUMNS, gold_of
from unlearning.experiments.results.compare import mean_std
from unlearning.records import UnlearningResults
from unlearning.reporting.page.shown import Gathered, Shown, State
from unlearning.reporting.ranking import count_test_rows, find_tag, protocol_of, rank, rows_explain

LEADING = ("after", "restored", "said", "training_share", "cpu")
"""Numbers of `COLUMNS` that the table leads with."""
MORE = (*("before", "clean", "gain", "gap", "healed", "validation_gain", "membership", "seconds", "grads", "products"),)
"""Those that can be chosen besides."""


def count_cells(gathered: Gathered) -> dict[State, int]:
    """Returns the number of cells in each state."""
    states = [cell.state for shown in gathered.experiments for cell in shown.cells]
    return {state: states.count(state) for state in get_args(State)}


def headline(experiment: Shown) -> list[dict[str, Any]]:
    """Means over seeds, a row for each budget and repair.

    Args:
        experiment: The experiment.

    Returns:
        Rows with `budget`, `name`, `method`, `rate`, `seeds`, `tag` (see `find_tag`), `standing` (see `rank`; empty
        without), `told`, `validation`, `known`, `status` and, under the names of `COLUMNS`, `(mean, std)`, fractions
        where they are shares. `explained` is the 95 % interval that the test rows leave to the accuracy of one seed.
        Budget by budget, the highest mean accuracy first.
    """
    groups: dict[tuple[int, str], list[UnlearningResults]] = {}
    for cell, repair, results in experiment.repairs():
        groups.setdefault((cell.budget, repair.label), []).append(results)
    gold = gold_of(((r.budget, r.seed), r) for _, _, r in experiment.repairs())
    standings = rank((key, result) for key, found in groups.items() for result in found)
    rows = [_row(key, found, gold) | {"standing": str(standings.get(key, ""))} for key, found in groups.items()]
    return sorted(rows, key=lambda row: (row["budget"], -(row["after"][0] or 0.0), row["name"]))


def _row(
    key: tuple[int, str], found: list[UnlearningResults], gold: dict[tuple[int, int], UnlearningResults]
) -> dict[str, Any]:
    first, protocol = found[0], protocol_of(found[0])
    numbers = {}
    for name in (*LEADING, *MORE):
        values = [COLUMNS[name].value(r, gold.get((r.budget, r.seed))) for r in found]
        numbers[name] = mean_std([value for value in values if value is not None])
    rows = count_test_rows(first)
    alone = len({r.seed for r in found}) == 1 and rows
    return {
        "budget": key[0],
        "name": key[1],
        "method": first.method,
        "rate": first.rate,
        "seeds": len(found),
        "tag": find_tag(first.method),
        "told": protocol.told,
        "validation": protocol.validation,
        "known": protocol.known,
        "status": sorted({describe_status(r) for r in found}),
        "explained": rows_explain(first.acc_after_fix, rows) if alone else None,
        **numbers,
    }


def describe_status(result: UnlearningResults) -> str:
    """Says how a repair ended: what it found out it found out on validation rows."""
    text = result.status.replace("_", " ")
    return f"{text} on validation" if text == "improved" else text
