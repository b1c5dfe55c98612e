"""Aligned text tables of results, at most 100 columns wide."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import pandas as pd

from unlearning.experiments.grid.plan import Estimate, Plan, describe_duration
from unlearning.experiments.results.compare import METRICS, Comparison, mean_std
from unlearning.experiments.results.tree import Entry
from unlearning.experiments.results.validate import ValidationReport
from unlearning.records import (
    DetectionResults,
    FeatureResults,
    RepairResults,
    TrainResults,
    UnlearningResults,
)
from unlearning.records.reference import NOTES, ReferenceResults, ReferenceTraining

_WIDTH = 100
_METRIC_TITLES = {
    "acc_after_fix": ("test accuracy after the repair, in %", 100.0),
    "acc_perc_restored": ("share of the lost accuracy that came back, in %", 100.0),
    "seconds": ("seconds of the repair", 1.0),
}

_COLUMNS = (
    "budget",
    "seed",
    "method",
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
        A frame with percentages (`clean`, `before`, `after`: test accuracy; `restored`: share of the lost accuracy that
        came back), seconds, and thousands of per-example gradients and curvature products.
    """
    rows = [
        {
            "budget": r.budget,
            "seed": str(r.seed),
            "method": _describe_method(r),
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


def _describe_method(result: UnlearningResults) -> str:
    """The method with its variant; the validation protocol is shortened to keep the table narrow."""
    variant = result.variant.removesuffix("clean-validation").removesuffix("-")
    name = f"{result.method}-{variant}" if variant else result.method
    return f"{name} (clean)" if result.config.validation == "clean" else name


def format_entries(entries: Sequence[Entry]) -> str:
    """Formats collected repairs: one table an experiment, so that nothing is averaged over different experiments."""
    found: dict[str, list[UnlearningResults]] = {}
    for entry in entries:
        if isinstance(entry.results, UnlearningResults):
            found.setdefault(entry.experiment, []).append(entry.results)
    if len(found) < 2:
        return format_results([result for results in found.values() for result in results])
    tables = [f"{name}:\n{format_results(results, legend=False)}\n" for name, results in found.items()]
    return "\n".join([*tables, _legend([result for results in found.values() for result in results])])


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
    for name in _COLUMNS[3:]:
        sign = "+" if name == "val." else ""
        formatted[name] = ["-" if pd.isna(value) else f"{value:{sign}.1f}" for value in frame[name]]
    lines = [_render(formatted, "method")]
    groups = frame.groupby(["budget", "method"], sort=False)
    if any(len(group) > 1 for _, group in groups):
        numbers = [*_COLUMNS[4:7], "seconds"]
        summary = pd.DataFrame(
            [
                {
                    "budget": budget,
                    "method": method,
                    "seeds": len(group),
                    **{n: _spread(*mean_std(group[n].dropna().tolist())) for n in numbers},
                }
                for (budget, method), group in groups
            ]
        )
        lines += ["", "Mean ± standard deviation over seeds:", _render(summary, "method")]
    return "\n".join([*lines, "", _legend(results)] if legend else lines)


def _legend(results: Sequence[UnlearningResults]) -> str:
    lines = [
        "clean, before, after: test accuracy in %; restored: share of the lost accuracy that came back, in %;",
        "val.: points gained on validation rows; grads, products: thousands of per-example evaluations.",
    ]
    if any(result.config.validation == "clean" for result in results):
        lines.append("(clean): choices made on true validation labels.")
    return "\n".join(lines)


def _spread(mean: float | None, std: float | None, scale: float = 1.0, sign: str = "") -> str:
    """Mean ± standard deviation as text, both times `scale`."""
    if mean is None:
        return "-"
    return f"{scale * mean:{sign}.1f}" if std is None else f"{scale * mean:{sign}.1f} ± {scale * std:.1f}"


def format_reference(entries: Sequence[Entry]) -> str:
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
    notes = [part for note in NOTES for part in textwrap.wrap(f"- {note}", _WIDTH, subsequent_indent="  ")]
    table = _render(pd.DataFrame(rows), "method")
    return "\n".join(["Results of the published implementation, all numbers but seconds in %:", table, *notes])


def format_comparison(comparison: Comparison) -> str:
    """Formats a comparison as one table a metric, at most 100 columns wide."""
    lines: list[str] = []
    for experiment in dict.fromkeys(row.experiment for row in comparison.methods):
        for metric in METRICS:
            title, scale = _METRIC_TITLES[metric]
            rows = []
            for row in comparison.methods:
                if row.experiment != experiment:
                    continue
                summary, difference = getattr(row, metric), row.differences.get(metric)
                shown = {
                    "budget": row.budget,
                    "method": row.method,
                    "seeds": summary.count,
                    "mean ± std": _spread(summary.mean, summary.std, scale),
                    "pairs": "-",
                    "difference": "control" if row.method == comparison.control else "-",
                    f"{100 * comparison.level:.0f} % interval": "-",
                }
                if difference is not None:
                    low, high = difference.low, difference.high
                    interval = "-" if low is None or high is None else f"{scale * low:+.1f} .. {scale * high:+.1f}"
                    shown |= {
                        "pairs": str(difference.pairs),
                        "difference": _spread(difference.mean, difference.std, scale, "+"),
                        f"{100 * comparison.level:.0f} % interval": interval,
                    }
                rows.append(shown)
            lines += [f"{experiment[-60:]}: {title}", _render(pd.DataFrame(rows), "method"), ""]
    found = [difference for row in comparison.methods for difference in row.differences.values()]
    lines.append(
        f"difference: method minus {shorten(comparison.control)}, paired by seed; ±: over seeds or pairs (n - 1)."
    )
    kinds = sorted({difference.interval for difference in found if difference.interval})
    if kinds:
        lines.append(f"interval: {' or '.join(kinds)} bootstrap of the mean; with few pairs it is too narrow.")
    for note in sorted({difference.note for difference in found if difference.note}):
        lines.append(f"-: {note}.")
    return "\n".join(lines)


def shorten(name: str, width: int = 34) -> str:
    """Cuts a name in the middle where it is longer than `width`: methods differ in front, variants at the end."""
    return name if len(name) <= width else f"{name[: width - 15]}...{name[-12:]}"


def _render(frame: pd.DataFrame, column: str) -> str:
    """Formats a table; where it is wider than a terminal, the names in one column are shortened by as much."""
    text = frame.to_string(index=False)
    excess = max(map(len, text.splitlines())) - _WIDTH
    if excess <= 0:
        return text
    width = max(16, max(len(str(name)) for name in frame[column]) - excess)
    return frame.assign(**{column: [shorten(str(name), width) for name in frame[column]]}).to_string(index=False)


def format_validation(report: ValidationReport) -> str:
    """Formats a validation: a line of counts, and two lines a problem."""
    lines = []
    for problem in report.problems:
        lines.append(f"{problem.kind:<12}  {problem.path}")
        lines += textwrap.wrap(problem.message, _WIDTH, initial_indent=" " * 14, subsequent_indent=" " * 14)
    if lines:
        lines = [f"{'problem':<12}  file", *lines, ""]
    counts = (
        f"{report.files} files: {report.records} records, {report.logs} logs, {report.weights_checked} weight files "
        f"with the recorded hash, {report.weights_not_kept} not kept, {report.unfinished} configurations without "
        f"results, {len(report.problems)} problems."
    )
    if report.reference_records:
        counts += f" {report.reference_records} records are the published implementation's: only their form is checked."
    return "\n".join([*lines, *textwrap.wrap(counts, _WIDTH)])


def format_training(results: Sequence[tuple[str, TrainResults | ReferenceTraining]]) -> str:
    """Formats trained models as a table, from `(name, results)` pairs; `epoch` is the best one, accuracy is in %."""
    frame = pd.DataFrame(
        [
            {
                "model": name,
                "rows": r.rows if isinstance(r, TrainResults) else "-",
                "corrupted": r.corrupted_rows if isinstance(r, TrainResults) else "-",
                "test acc.": f"{100 * r.accuracy:.1f}",
                "train loss": f"{r.train_loss:.4f}",
                "test loss": f"{r.test_loss:.3f}",
                "epoch": r.epochs_for_min,
                "seconds": f"{r.time:.1f}",
            }
            for name, r in results
        ]
    )
    return _render(frame, "model")


def format_detection(result: DetectionResults) -> str:
    """Formats a detection as a table of one row, with its scores where the bad rows are known."""
    row: dict[str, str] = {
        "detector": result.detector,
        "rows": str(result.rows),
        "suspects": str(result.suspects),
        "share": f"{100 * result.suspect_share:.1f}",
        "threshold": "-" if result.threshold is None else f"{result.threshold:.4g}",
        "status": result.status,
    }
    legend = "share: suspects among the rows, in %"
    if result.metrics is not None:
        metrics = result.metrics
        row["bad"] = str(result.bad_rows)
        for name, value in (
            ("precision", metrics.precision),
            ("recall", metrics.recall),
            ("F1", metrics.f1),
            ("AUROC", metrics.auroc),
            ("av. prec.", metrics.average_precision),
        ):
            row[name] = "-" if value is None else f"{100 * value:.1f}"
        legend += "; precision to av. prec.: against the known bad rows, in %"
    table = pd.DataFrame([row]).to_string(index=False)
    if max(map(len, table.splitlines())) > _WIDTH:
        names = list(row)
        parts = (names[:6], names[6:])
        table = "\n\n".join(_render(pd.DataFrame([{n: row[n] for n in part}]), part[0]) for part in parts)
    return f"{table}\n\n{legend}."


def format_repair(result: RepairResults) -> str:
    """Formats the repair of a user's model: a row a model, then what was done."""
    frame = pd.DataFrame(
        [
            {"model": "given", **_accuracies(result, "before")},
            {"model": "repaired", **_accuracies(result, "after")},
        ]
    )
    lines = [frame.to_string(index=False), ""]
    if result.detection is not None:
        found = result.detection
        lines.append(f"{found.detector}: {found.suspects} of {found.rows} rows are suspect ({found.status}).")
    lines += [
        f"{result.method}: {result.status.replace('_', ' ')}, {result.unlearning_duration_s:.1f} s, "
        f"{result.flagged_rows} rows flagged, {result.removed_rows} of them removed.",
        "accuracy in %, validation and test with labels as found; corrected: flagged rows with their corrected label.",
    ]
    return "\n".join(lines)


def _accuracies(result: RepairResults, when: str) -> dict[str, str]:
    names = ("validation_accuracy", "test_accuracy", "corrected_accuracy")
    found = {name.removesuffix("_accuracy"): getattr(result, f"{name}_{when}") for name in names}
    return {name: "-" if value is None else f"{100 * value:.1f}" for name, value in found.items()}


def format_plan(plan: Plan, workers: int = 1) -> str:
    """Formats what a run would do.

    Args:
        plan: The missing work.
        workers: Number of processes that will do it.
    """
    table = _plan_table(plan, each=True)
    if max(map(len, table.splitlines())) > _WIDTH:
        table = _plan_table(plan, each=False)
    done = sum(cell.done for cell in plan.cells)
    lines = [
        table,
        "",
        f"clean model: {'done' if plan.clean_done else 'missing'}; cells: {done} of {len(plan.cells)} done",
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


def format_angles(result: FeatureResults) -> str:
    """Formats the angles of a repair's rows as a table, one row a group."""
    before, after = result.angles["before"], result.angles["after"]
    frame = pd.DataFrame(
        [
            {
                "rows of": group,
                "rows": before[group].rows,
                **{
                    when: "-" if angle.mean is None else f"{angle.mean:.1f} ± {angle.std:.1f}"
                    for when, angle in (("before", before[group]), ("after", after[group]))
                },
            }
            for group in before
        ]
    )
    source = "the method took for wrong" if result.forget_source == "method" else "that are truly bad"
    return (
        f"{frame.to_string(index=False)}\n\n"
        "Angle to the centroid of the given label, mean ± standard deviation over rows, in degrees.\n"
        f"forget: rows {source}; retain: all others, which the centroids are made of (before the repair)."
    )
