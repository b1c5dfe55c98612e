"""Tables of trained models, of a user's repaired model, and of its rows in feature space."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from unlearning.profiling import format_shares
from unlearning.records import FeatureResults, RepairResults, TrainResults
from unlearning.records.card import card
from unlearning.records.reference import ReferenceTraining
from unlearning.reporting.tables.text import WIDTH, prose, render


def format_training(results: Sequence[tuple[str, TrainResults | ReferenceTraining]], width: int = WIDTH) -> str:
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
    return render(frame, "model", width, ("train loss", "epoch", "rows", "test loss"))


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
        *([f"{result.unchanged_rows} rows with their given label left out."] if result.unchanged_rows else []),
        *(part for line in card(result) for part in prose(line, 80, following="  ")),
        *([] if result.deployed is None else [result.deployed.line()]),
        *([] if "processor_seconds" not in result.details else [format_shares(result.details["processor_seconds"])]),
        "accuracy in %, validation and test with labels as found; corrected: flagged rows with their corrected label.",
    ]
    return "\n".join(lines)


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


def _accuracies(result: RepairResults, when: str) -> dict[str, str]:
    names = ("validation_accuracy", "test_accuracy", "corrected_accuracy")
    found = {name.removesuffix("_accuracy"): getattr(result, f"{name}_{when}") for name in names}
    return {name: "-" if value is None else f"{100 * value:.1f}" for name, value in found.items()}
