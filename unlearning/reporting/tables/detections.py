"""Tables of what detectors found."""

from __future__ import annotations

import pandas as pd

from unlearning.records import DetectionResults
from unlearning.reporting.tables.text import WIDTH, prose, render

_MOST_PAIRS = 8


def format_detection(result: DetectionResults, width: int = WIDTH) -> str:
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
    if max(map(len, table.splitlines())) > width:
        names = list(row)
        parts = (names[:6], names[6:])
        table = "\n\n".join(render(pd.DataFrame([{n: row[n] for n in part}]), part[0], width) for part in parts if part)
    return "\n".join([table, "", *prose(f"{legend}.", width), *prose(_pairs(result), width)])


def _pairs(result: DetectionResults) -> str:
    """The classes most mistaken, where the detector has estimated them."""
    named = result.class_names or ()

    def name(label: int) -> str:
        return named[label] if label < len(named) else str(label)

    told = [
        f"{name(pair['true'])} said {name(pair['given'])}: {pair['rows']:.0f}"
        for pair in result.details.get("pairs", ())[:_MOST_PAIRS]
    ]
    return f"Most mistaken, in rows by estimate: {', '.join(told)}." if told else ""
