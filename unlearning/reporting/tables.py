"""Aligned text tables of results, at most 100 columns wide."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from unlearning.experiments.plan import Estimate, Plan, describe_duration
from unlearning.experiments.records import DetectionResults, FeatureResults, TrainResults, UnlearningResults

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


def format_results(results: Sequence[UnlearningResults]) -> str:
    """Formats repairs as a table, with mean and standard deviation over seeds where there are several."""
    if not results:
        return "No repairs yet."
    frame = tabulate(results)
    formatted = frame.copy()
    for name in _COLUMNS[3:]:
        sign = "+" if name == "val." else ""
        formatted[name] = ["-" if pd.isna(value) else f"{value:{sign}.1f}" for value in frame[name]]
    lines = [formatted.to_string(index=False)]
    groups = frame.groupby(["budget", "method"], sort=False)
    if any(len(group) > 1 for _, group in groups):
        numbers = [*_COLUMNS[4:7], "seconds"]
        summary = pd.DataFrame(
            [
                {
                    "budget": budget,
                    "method": method,
                    "seeds": len(group),
                    **{n: f"{group[n].mean():.1f} ± {group[n].std(ddof=1):.1f}" for n in numbers},
                }
                for (budget, method), group in groups
            ]
        )
        lines += ["", "Mean ± standard deviation over seeds:", summary.to_string(index=False)]
    lines += [
        "",
        "clean, before, after: test accuracy in %; restored: share of the lost accuracy that came back, in %;",
        "val.: points gained on validation rows; grads, products: thousands of per-example evaluations.",
    ]
    if any(result.config.validation == "clean" for result in results):
        lines.append("(clean): choices made on true validation labels.")
    return "\n".join(lines)


def format_training(results: Sequence[tuple[str, TrainResults]]) -> str:
    """Formats trained models as a table, from `(name, results)` pairs."""
    frame = pd.DataFrame(
        [
            {
                "model": name,
                "rows": r.rows,
                "corrupted": r.corrupted_rows,
                "test accuracy": f"{100 * r.accuracy:.1f}",
                "train loss": f"{r.train_loss:.4f}",
                "test loss": f"{r.test_loss:.3f}",
                "best epoch": r.epochs_for_min,
                "seconds": f"{r.time:.1f}",
            }
            for name, r in results
        ]
    )
    return frame.to_string(index=False)


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
    return f"{pd.DataFrame([row]).to_string(index=False)}\n\n{legend}."


def format_plan(plan: Plan, workers: int = 1) -> str:
    """Formats what a run would do.

    Args:
        plan: The missing work.
        workers: Number of processes that will do it.
    """
    rows = []
    for cell in plan.cells:
        row = {"budget": str(cell.budget), "seed": str(cell.seed)}
        row["training"] = "missing" if cell.training_s is None else "done"
        for name, result in zip(plan.methods, (result for _, result in cell.repairs), strict=True):
            row[name] = "missing" if result is None else "done"
        row["cell"] = "done" if cell.done else "failed before" if cell.failed else "missing"
        rows.append(row)
    done = sum(cell.done for cell in plan.cells)
    lines = [
        pd.DataFrame(rows).to_string(index=False),
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
