"""Tables of methods against a control."""

from __future__ import annotations

import pandas as pd

from unlearning.experiments.results.compare import METRICS, Comparison
from unlearning.reporting.tables.text import WIDTH, render, shorten, spread

_METRIC_TITLES = {
    "acc_after_fix": ("test accuracy after the repair, in %", 100.0),
    "acc_perc_restored": ("share of the lost accuracy that came back, in %", 100.0),
    "seconds": ("seconds of the repair", 1.0),
}


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
                    "mean ± std": spread(summary.mean, summary.std, scale),
                    "pairs": "-",
                    "difference": "control" if row.method == comparison.control else "-",
                    f"{100 * comparison.level:.0f} % interval": "-",
                }
                if difference is not None:
                    low, high = difference.low, difference.high
                    interval = "-" if low is None or high is None else f"{scale * low:+.1f} .. {scale * high:+.1f}"
                    shown |= {
                        "pairs": str(difference.pairs),
                        "difference": spread(difference.mean, difference.std, scale, "+"),
                        f"{100 * comparison.level:.0f} % interval": interval,
                    }
                rows.append(shown)
            ending = experiment[-(WIDTH - len(title) - 2) :]  # folders end with what tells them apart
            lines += [f"{ending}: {title}", render(pd.DataFrame(rows), "method"), ""]
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
