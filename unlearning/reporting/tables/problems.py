"""What `validate` found, as a table."""

from __future__ import annotations

from unlearning.experiments.results.validate import ValidationReport
from unlearning.reporting.tables.text import WIDTH, prose


def format_validation(report: ValidationReport, width: int = WIDTH) -> str:
    """Formats a validation: a line of counts, and two lines a problem."""
    lines = []
    for problem in report.problems:
        lines.append(f"{problem.kind:<12}  {problem.path}")
        lines += prose(problem.message, width, " " * 14)
    if lines:
        lines = [f"{'problem':<12}  file", *lines, ""]
    counts = (
        f"{report.files} files: {report.records} records, {report.logs} logs, {report.weights_checked} weight files "
        f"with the recorded hash, {report.weights_not_kept} not kept, {report.unfinished} configurations without "
        f"results, {len(report.problems)} problems."
    )
    if report.reference_records:
        counts += f" {report.reference_records} records are the published implementation's: only their form is checked."
    return "\n".join([*lines, *prose(counts, width)])
