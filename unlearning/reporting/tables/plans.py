"""What a run would do, as a table."""

from __future__ import annotations

import pandas as pd

from unlearning.experiments.grid.plan import Estimate, Plan
from unlearning.progress import describe_duration
from unlearning.reporting.tables.text import WIDTH


def format_plan(plan: Plan, workers: int = 1) -> str:
    """Formats what a run would do.

    Args:
        plan: The missing work.
        workers: Number of processes that will do it.

    Returns:
        The text.
    """
    table = _plan_table(plan, each=True)
    if max(map(len, table.splitlines())) > WIDTH:
        table = _plan_table(plan, each=False)
    done = sum(cell.done for cell in plan.cells)
    lines = [
        table,
        "",
        f"clean models: {sum(plan.clean.values())} of {len(plan.clean)} done; cells: {done} of {len(plan.cells)} done",
        "",
        "Estimated seconds:",
        _format_estimate("training", plan.training),
        *(_format_estimate(name, estimate) for name, estimate in plan.methods.items()),
        "",
        f"Missing work: about {describe_duration(plan.seconds)} in one process"
        + (f", at best {describe_duration(plan.seconds / workers)} with {workers} workers." if workers > 1 else "."),
        f"Memory: about {plan.memory_bytes / 1e9:.1f} GB a process, by rule.",
    ]
    return "\n".join(lines)


def _plan_table(plan: Plan, *, each: bool) -> str:
    """One row a cell, with a column for each method, or only with how many of its repairs are done."""
    rows = []
    for cell in plan.cells:
        row = {"budget": str(cell.budget), "seed": str(cell.seed)}
        row["clean"] = "missing" if cell.clean_s is None else "done"
        row["training"] = "missing" if cell.training_s is None else "done"
        found = {name: repair is not None for name, (_, repair) in zip(plan.methods, cell.repairs, strict=True)}
        if each:
            row |= {name: "done" if there else "missing" for name, there in found.items()}
        else:
            row["repairs done"] = f"{sum(found.values())} of {len(found)}"
        row["cell"] = "done" if cell.done else "failed before" if cell.failed else "missing"
        rows.append(row)
    return pd.DataFrame(rows).to_string(index=False)


def _format_estimate(name: str, estimate: Estimate) -> str:
    source = "recorded in finished cells here" if estimate.measured else "by rule, order of magnitude only"
    return f"  {name}: {estimate.seconds:.1f} ({source})"
