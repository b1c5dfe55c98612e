"""The table at the top of the page: means over seeds, a row for each budget and repair."""

from __future__ import annotations

from typing import Any, get_args

from unlearning import methods
from unlearning.errors import InputError
from unlearning.experiments.results.compare import mean_std
from unlearning.methods.described import information
from unlearning.records import UnlearningResults
from unlearning.registry import Role
from unlearning.reporting.page.shown import Gathered, Shown, State

_TAGS = {Role.CONTROL: "control", Role.GOLD: "gold standard"}


def count_cells(gathered: Gathered) -> dict[State, int]:
    """Returns the number of cells in each state."""
    states = [cell.state for shown in gathered.experiments for cell in shown.cells]
    return {state: states.count(state) for state in get_args(State)}


def headline(experiment: Shown) -> list[dict[str, Any]]:
    """Means over seeds, a row for each budget and repair.

    Args:
        experiment: The experiment.

    Returns:
        Rows with `budget`, `name`, `method`, `seeds`, `control`, `tag`, `told`, `best`, and `(mean, std)` under
        `clean`, `before`, `after`, `restored` (fractions) and `seconds`; the best of a budget is the one, of those that
        are no controls, whose mean accuracy is highest.
    """
    groups: dict[tuple[int, str], list[UnlearningResults]] = {}
    for cell, repair, results in experiment.repairs():
        groups.setdefault((cell.budget, repair.label), []).append(results)
    rows: list[dict[str, Any]] = []
    for (budget, name), found in sorted(groups.items()):
        tag = find_tag(found[0].method)
        rows.append(
            {
                "budget": budget,
                "name": name,
                "method": found[0].method,
                "seeds": len(found),
                "control": bool(tag),
                "tag": tag,
                "told": information(found[0].method, found[0].config.hyperparameters),
                "clean": mean_std([r.acc_clean for r in found]),
                "before": mean_std([r.acc_before_fix for r in found]),
                "after": mean_std([r.acc_after_fix for r in found]),
                "restored": mean_std([r.acc_perc_restored for r in found if r.acc_perc_restored is not None]),
                "seconds": mean_std([r.unlearning_duration_s for r in found]),
            }
        )
    for row in rows:
        rivals = [other["after"][0] for other in rows if other["budget"] == row["budget"] and not other["control"]]
        row["best"] = not row["control"] and row["after"][0] == max(rivals)
    return rows


def find_tag(method: str) -> str:
    """What a method is called that is there for comparison and is never the best: `control`, `gold standard` or empty.

    Args:
        method: Its registered name, or a chain's. What the registry does not know is an ordinary method.

    Returns:
        The words.
    """
    try:
        return _TAGS.get(methods.entry(method).role, "")
    except InputError:
        return ""
