"""Tables of the repairs of experiments."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import pandas as pd

from unlearning.experiments.results.columns import COLUMNS, count_seeds, gold_of
from unlearning.experiments.results.compare import mean_std
from unlearning.experiments.results.tree import Repair
from unlearning.methods.described import information, label
from unlearning.records import UnlearningResults
from unlearning.records.reference import NOTES, ReferenceResults
from unlearning.reporting.tables.text import NARROWEST, WIDTH, fit, number, render, spread

_SHOWN = (
    "clean",
    "before",
    "after",
    "restored",
    "gap",
    "said",
    "validation_gain",
    "seconds",
    "cpu",
    "training_share",
    "grads",
    "products",
)
_SUMMARISED = ("clean", "before", "after", "restored", "gap", "said", "seconds", "cpu", "training_share")
_SPARE = ("products", "grads", "validation_gain", "clean", "before", "cpu", "training_share", "said", "seconds", "gap")
"""What a narrow terminal does without, the first ones first: the costs of one kind before what a repair brought."""


def tabulate(results: Sequence[UnlearningResults]) -> pd.DataFrame:
    """Returns one row a result, in the table's units.

    Args:
        results: Repairs of one experiment.

    Returns:
        A frame with what the method was told of bad rows (`nothing`, `rows`, `labels`) and the numbers of
        `experiments.results.columns` under their headings in a terminal.
    """
    gold = gold_of(((r.budget, r.seed), r) for r in results)
    rows = []
    for r in results:
        row: dict[str, object] = {
            "budget": r.budget,
            "seed": str(r.seed),
            "method": _describe_method(r),
            "told": information(r.method, r.config.hyperparameters).rpartition(" ")[2],
        }
        for name in _SHOWN:
            column = COLUMNS[name]
            value = column.value(r, gold.get((r.budget, r.seed)))
            row[column.heading] = None if value is None else column.scale * value
        rows.append(row)
    return pd.DataFrame(rows, columns=["budget", "seed", "method", "told", *(COLUMNS[name].heading for name in _SHOWN)])


def format_results(results: Sequence[UnlearningResults], *, legend: bool = True, width: int = WIDTH) -> str:
    """Formats repairs of one experiment as a table, with mean and standard deviation where there are several seeds.

    Args:
        results: Repairs.
        legend: Whether to say what the columns mean.
        width: Columns of the terminal; numbers that it has no room for are left out, and so are those that no repair
            has.

    Returns:
        The table, in the order of the results.
    """
    if not results:
        return "No repairs yet."
    parts, shown = _tables(results, width)
    return "\n".join([*parts, "", _legend(results, shown)] if legend else parts)


def _tables(results: Sequence[UnlearningResults], width: int) -> tuple[list[str], set[str]]:
    """The tables of one experiment, and the names of the numbers in them."""
    frame = tabulate(results)
    formatted = frame.copy()
    for name in _SHOWN:
        column = COLUMNS[name]
        values = frame[column.heading]
        formatted[column.heading] = ["-" if pd.isna(value) else number(value, column.sign) for value in values]
    unknown = [COLUMNS[name].heading for name in _SHOWN if frame[COLUMNS[name].heading].isna().all()]
    spare = [COLUMNS[name].heading for name in _SPARE]
    kept = fit(formatted.drop(columns=unknown), "method", width, spare)
    lines, shown = [render(kept, "method", width)], set(kept.columns)
    keys = list(zip(frame["budget"], frame["method"], strict=True))
    seeds = count_seeds(list(zip(keys, frame["seed"], strict=True)))
    if len(results) > len(seeds):
        headings = [COLUMNS[name].heading for name in _SUMMARISED]
        rows = [
            {
                "budget": budget,
                "method": method,
                "seeds": seeds[budget, method],
                **{n: spread(*mean_std(group[n].dropna().tolist())) for n in headings if n not in unknown},
            }
            for (budget, method), group in frame.groupby(["budget", "method"], sort=False)
        ]
        summary = fit(pd.DataFrame(rows), "method", width, spare)
        shown |= set(summary.columns)
        lines += ["", "Mean ± standard deviation over seeds:", render(summary, "method", width)]
    if len(results) == 1 and results[0].acceptance is not None:
        lines += ["", *results[0].acceptance.lines()]
        lines += [] if results[0].moved is None else [results[0].moved.line()]
    return lines, shown


def format_entries(entries: Sequence[Repair], *, width: int = WIDTH) -> str:
    """Formats collected repairs: one table an experiment, so that nothing is averaged over different experiments."""
    found: dict[str, list[UnlearningResults]] = {}
    for entry in entries:
        if isinstance(entry.results, UnlearningResults):
            found.setdefault(entry.experiment, []).append(entry.results)
    results = [result for own in found.values() for result in own]
    if len(found) < 2:
        return format_results(results, width=width)
    lines, shown = [], set()
    for name, own in found.items():
        parts, columns = _tables(own, width)
        lines += [f"{name}:", *parts, ""]
        shown |= columns
    return "\n".join([*lines, _legend(results, shown)])


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


def _legend(results: Sequence[UnlearningResults], shown: set[str]) -> str:
    known = [column for column in COLUMNS.values() if column.heading in shown]
    texts = ["told: nothing of bad rows, which rows they are, or their right labels, too"]
    texts += [f"{column.heading}: {column.meaning}" for column in known]
    lines = textwrap.wrap("; ".join(texts) + ".", NARROWEST, break_long_words=False)
    if any(result.config.validation == "clean" for result in results):
        lines.append("(clean): choices made on true validation labels.")
    return "\n".join(lines)
