"""Tables of the repairs of experiments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from unlearning.experiments.results.columns import COLUMNS, count_seeds, gold_of
from unlearning.experiments.results.compare import mean_std
from unlearning.experiments.results.tree import Repair
from unlearning.methods.described import information, label
from unlearning.records import UnlearningResults
from unlearning.records.reference import NOTES, ReferenceResults
from unlearning.reporting.ranking import Standing, count_test_rows, rank, rows_explain
from unlearning.reporting.tables.text import BEST, TIE, WIDTH, fit, number, prose, render, set_apart, spread

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
_MARKS = {Standing.BEST: BEST, Standing.TIE: TIE}
_MEANT = {
    BEST: "best of those that were told the same, ahead of each by more than chance; controls apart",
    TIE: "nobody is best: first, or not told apart from the first, of those that were told the same",
}


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
        The table: budget by budget, the best first. What is the same in all rows stands above it.
    """
    if not results:
        return "No repairs yet."
    parts, shown = _tables(results, width)
    return "\n".join([*parts, "", *_legend(results, shown, width)] if legend else parts)


def _tables(results: Sequence[UnlearningResults], width: int) -> tuple[list[str], set[str]]:
    """The tables of one experiment, and the names of the numbers in them."""
    frame = tabulate(results)
    means = frame.groupby(["budget", "method"])["after"].transform("mean")
    order = frame.assign(mean=-means).sort_values(["budget", "mean", "method", "seed"], kind="stable").index
    frame, results = frame.loc[order].reset_index(drop=True), [results[i] for i in order]
    keys = list(zip(frame["budget"], frame["method"], strict=True))
    standings = rank(zip(keys, results, strict=True))
    formatted = frame.copy()
    formatted["budget"] = frame["budget"].astype(str)
    for name in _SHOWN:
        column = COLUMNS[name]
        values = frame[column.heading]
        formatted[column.heading] = ["-" if pd.isna(value) else number(value, column.sign) for value in values]
    unknown = [COLUMNS[name].heading for name in _SHOWN if frame[COLUMNS[name].heading].isna().all()]
    seeds = count_seeds(list(zip(keys, frame["seed"], strict=True)))
    several = len(results) > len(seeds)
    formatted["method"] = [
        method if several else _marked(key, standings) for key, method in zip(keys, frame["method"], strict=True)
    ]
    lines, shown = _aligned(formatted.drop(columns=unknown), width)
    if several:
        headings = [COLUMNS[name].heading for name in _SUMMARISED]
        rows = [
            {
                "budget": str(budget),
                "method": _marked((int(str(budget)), str(method)), standings),
                "seeds": str(seeds[budget, method]),
                **{n: spread(*mean_std(group[n].dropna().tolist())) for n in headings if n not in unknown},
            }
            for (budget, method), group in frame.groupby(["budget", "method"], sort=False)
        ]
        more, columns = _aligned(pd.DataFrame(rows), width)
        lines += ["", "Mean ± standard deviation over seeds:", *more]
        shown |= columns
    if len(results) == 1 and results[0].acceptance is not None:
        lines += ["", *results[0].acceptance.lines()]
        lines += [] if results[0].moved is None else [results[0].moved.line()]
    return lines, shown | {_MARKS[standing] for standing in standings.values() if standing in _MARKS}


def _aligned(frame: pd.DataFrame, width: int) -> tuple[list[str], set[str]]:
    """A table with what is the same in all rows above it, and the headings of both."""
    spare = [COLUMNS[name].heading for name in _SPARE]
    rest, above = set_apart(frame, {"budget": "", "seed": "", "seeds": "", "told": "", "clean": "%", "before": "%"})
    kept = fit(rest, "method", width, spare)
    return [*prose(above, width), *render(kept, "method", width).splitlines()], {*kept.columns, *above.split()}


def _marked(key: tuple[int, str], standings: Mapping[tuple[int, str], Standing]) -> str:
    mark = _MARKS.get(standings[key]) if key in standings else None
    return f"{key[1]} {mark}" if mark else key[1]


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
    return "\n".join([*lines, *_legend(results, shown, width)])


def format_reference(entries: Sequence[Repair], *, width: int = WIDTH) -> str:
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
    notes = [part for note in NOTES for part in prose(note, width, "- ")]
    table = render(pd.DataFrame(rows), "method", width, ("seconds", "clean (test)", "seed"))
    return "\n".join(["Results of the published implementation, all numbers but seconds in %:", table, *notes])


def _describe_method(result: UnlearningResults) -> str:
    """The method with its variant; the validation protocol is shortened to keep the table narrow."""
    variant = result.variant.removesuffix("clean-validation").removesuffix("-")
    name = f"{result.method}-{variant}" if variant else result.method
    name = label(name, result.method, result.config.hyperparameters)
    return f"{name} (clean)" if result.config.validation == "clean" else name


def _legend(results: Sequence[UnlearningResults], shown: set[str], width: int) -> list[str]:
    known = [column for column in COLUMNS.values() if column.heading in shown]
    texts = ["told: nothing of bad rows, which rows they are, or their right labels, too"]
    texts += [f"{column.heading}: {column.meaning}" for column in known]
    texts += [f"{mark}: {text}" for mark, text in _MEANT.items() if mark in shown]
    lines = prose("; ".join(texts) + ".", width)
    if any(result.config.validation == "clean" for result in results):
        lines.append("(clean): choices made on true validation labels.")
    return lines + [f"{text}." for text in _what_is_nothing(results)]


def _what_is_nothing(results: Sequence[UnlearningResults]) -> list[str]:
    """What difference between two accuracies the number of test rows explains: the 95 % interval of one of them."""
    counts = {rows for result in results if (rows := count_test_rows(result))}
    if len(counts) != 1:
        return []
    rows = counts.pop()
    middle = sorted(result.acc_after_fix for result in results)[len(results) // 2]
    return [f"{rows:,} test rows: differences under {100 * rows_explain(middle, rows):.1f} points mean nothing"]
