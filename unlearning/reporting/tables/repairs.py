"""Tables of the repairs of experiments."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import pandas as pd

from unlearning.experiments.results.compare import mean_std
from unlearning.experiments.results.tree import Repair
from unlearning.methods.described import information, label
from unlearning.records import UnlearningResults
from unlearning.records.reference import NOTES, ReferenceResults
from unlearning.reporting.tables.text import WIDTH, render, spread

_COLUMNS = (
    "budget",
    "seed",
    "method",
    "told",
    "clean",
    "before",
    "after",
    "restored",
    "val.",
    "seconds",
    "grads",
    "products",
)


def tabulate(results: Sequence[UnlearningResults]) -> pd.DataFrame:
    """Returns one row a result, in the table's units.

    Args:
        results: Repairs.

    Returns:
        A frame with what the method was told of bad rows (`nothing`, `rows`, `labels`), percentages (`clean`, `before`,
        `after`: test accuracy; `restored`: share of the lost accuracy that came back), seconds, and thousands of
        per-example gradients and curvature products.
    """
    rows = [
        {
            "budget": r.budget,
            "seed": str(r.seed),
            "method": _describe_method(r),
            "told": information(r.method, r.config.hyperparameters).rpartition(" ")[2],
            "clean": 100 * r.acc_clean,
            "before": 100 * r.acc_before_fix,
            "after": 100 * r.acc_after_fix,
            "restored": None if r.acc_perc_restored is None else 100 * r.acc_perc_restored,
            "val.": 100 * (r.validation_accuracy_after - r.validation_accuracy_before),
            "seconds": r.unlearning_duration_s,
            "grads": r.work.gradient_rows / 1000,
            "products": r.work.curvature_rows / 1000,
        }
        for r in results
    ]
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def format_results(results: Sequence[UnlearningResults], *, legend: bool = True) -> str:
    """Formats repairs of one experiment as a table, with mean and standard deviation where there are several seeds.

    Args:
        results: Repairs.
        legend: Whether to say what the columns mean.

    Returns:
        The table, in the order of the results.
    """
    if not results:
        return "No repairs yet."
    frame = tabulate(results)
    formatted = frame.copy()
    for name in _COLUMNS[4:]:
        sign = "+" if name == "val." else ""
        formatted[name] = ["-" if pd.isna(value) else f"{value:{sign}.1f}" for value in frame[name]]
    lines = [render(formatted, "method")]
    groups = frame.groupby(["budget", "method"], sort=False)
    if any(len(group) > 1 for _, group in groups):
        numbers = ["clean", "before", "after", "restored", "seconds"]
        summary = pd.DataFrame(
            [
                {
                    "budget": budget,
                    "method": method,
                    "seeds": len(group),
                    **{n: spread(*mean_std(group[n].dropna().tolist())) for n in numbers},
                }
                for (budget, method), group in groups
            ]
        )
        lines += ["", "Mean ± standard deviation over seeds:", render(summary, "method")]
    if len(results) == 1 and results[0].acceptance is not None:
        lines += ["", *results[0].acceptance.lines()]
    return "\n".join([*lines, "", _legend(results)] if legend else lines)


def format_entries(entries: Sequence[Repair]) -> str:
    """Formats collected repairs: one table an experiment, so that nothing is averaged over different experiments."""
    found: dict[str, list[UnlearningResults]] = {}
    for entry in entries:
        if isinstance(entry.results, UnlearningResults):
            found.setdefault(entry.experiment, []).append(entry.results)
    if len(found) < 2:
        return format_results([result for results in found.values() for result in results])
    tables = [f"{name}:\n{format_results(results, legend=False)}\n" for name, results in found.items()]
    return "\n".join([*tables, _legend([result for results in found.values() for result in results])])


def format_reference(entries: Sequence[Repair]) -> str:
    """Formats results of the published implementation as a table, with what its fields mean."""
    rows = []
    for entry in entries:
        r = entry.results
        if not isinstance(r, ReferenceResults):
            continue
        lost = bool(r.diverged) or r.acc_after_fix < 0
        restored = None if lost else r.acc_perc_restored
        rows.append(
            {
                "budget": entry.budget,
                "seed": str(entry.seed),
                "method": entry.name,
                "clean (test)": f"{100 * r.acc_clean:.1f}",
                "before (val.)": f"{100 * r.acc_before_fix:.1f}",
                "after (val.)": "diverged" if lost else f"{100 * r.acc_after_fix:.1f}",
                "restored": "-" if restored is None else f"{100 * restored:.1f}",
                "seconds": f"{r.unlearning_duration_s:.1f}",
            }
        )
    notes = [part for note in NOTES for part in textwrap.wrap(f"- {note}", WIDTH, subsequent_indent="  ")]
    table = render(pd.DataFrame(rows), "method")
    return "\n".join(["Results of the published implementation, all numbers but seconds in %:", table, *notes])


def _describe_method(result: UnlearningResults) -> str:
    """The method with its variant; the validation protocol is shortened to keep the table narrow."""
    variant = result.variant.removesuffix("clean-validation").removesuffix("-")
    name = f"{result.method}-{variant}" if variant else result.method
    name = label(name, result.method, result.config.hyperparameters)
    return f"{name} (clean)" if result.config.validation == "clean" else name


def _legend(results: Sequence[UnlearningResults]) -> str:
    lines = [
        "told: nothing of bad rows, which rows they are, or their right labels, too;",
        "clean, before, after: test accuracy in %; restored: share of the lost accuracy that came back, in %;",
        "val.: points gained on validation rows; grads, products: thousands of per-example evaluations.",
    ]
    if any(result.config.validation == "clean" for result in results):
        lines.append("(clean): choices made on true validation labels.")
    return "\n".join(lines)
