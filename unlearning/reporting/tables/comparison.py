"""Tables of methods against a control."""

from __future__ import annotations

import pandas as pd

from unlearning.experiments.results.compare import Comparison
from unlearning.records.comparison import ComparedMethod, Summary
from unlearning.reporting.tables.text import BEST, WIDTH, prose, render, set_apart, shorten, spread

_SPARE = ("seconds", "restored", "pairs")


def format_comparison(comparison: Comparison, width: int = WIDTH) -> str:
    """Formats a comparison: of each experiment one table of what can be compared, best first, and a line on the rest.

    Args:
        comparison: The comparison.
        width: Columns of the terminal.

    Returns:
        The text.
    """
    control = shorten(comparison.control)
    lines: list[str] = []
    marked = False
    for experiment in dict.fromkeys(row.experiment for row in comparison.methods):
        rows = [row for row in comparison.methods if row.experiment == experiment]
        shown = [row for row in rows if row.method == comparison.control or _pairs(row)]
        lines.append(f"{experiment[-(width - 1) :]}:")  # folders end with what tells them apart
        if shown:
            table = pd.DataFrame([_row(row, comparison) for row in sorted(shown, key=_rank)])
            marked = marked or bool(table["method"].str.endswith(BEST).any())
            table, above = set_apart(table, {"budget": "", "pairs": ""})
            lines += [*prose(above, width), *render(table, "method", width, _SPARE).splitlines()]
        rest: dict[int, list[str]] = {}
        for row in rows:
            if row not in shown:
                rest.setdefault(row.budget, []).append(row.method)
        parts = "; ".join(f"budget {budget}: {', '.join(names)}" for budget, names in rest.items())
        lines += prose(f"No seed in common with {control} have, of {parts}.", width) if rest else []
        lines.append("")
    lines += prose(
        "after, restored: in %, mean ± standard deviation over seeds; difference: points of accuracy after the "
        f"repair, method minus {control}, paired by seed.",
        width,
    )
    found = [difference for row in comparison.methods for difference in row.differences.values()]
    kinds = sorted({difference.interval for difference in found if difference.interval})
    if kinds:
        lines += prose(f"interval: {' or '.join(kinds)} bootstrap of the mean; with few pairs it is too narrow.", width)
    if marked:
        lines.append(f"{BEST}: better than {control}, the interval excludes 0.")
    for note in sorted({difference.note for difference in found if difference.note}):
        lines += prose(f"-: {note}.", width)
    return "\n".join(lines)


def _pairs(row: ComparedMethod) -> int:
    found = row.differences.get("acc_after_fix")
    return 0 if found is None else found.pairs


def _rank(row: ComparedMethod) -> tuple[int, float]:
    """Budget by budget, the best first."""
    found = row.differences.get("acc_after_fix")
    return row.budget, 0.0 if found is None or found.mean is None else -found.mean


def _row(row: ComparedMethod, comparison: Comparison) -> dict[str, str]:
    found, interval = row.differences.get("acc_after_fix"), "-"
    better = False
    if found is not None and found.low is not None and found.high is not None:
        interval, better = f"{100 * found.low:+.1f} .. {100 * found.high:+.1f}", found.low > 0
    summaries: dict[str, Summary] = row.__pydantic_extra__
    after, restored, seconds = (summaries[name] for name in ("acc_after_fix", "acc_perc_restored", "seconds"))
    return {
        "budget": str(row.budget),
        "method": f"{row.method} {BEST}" if better else row.method,
        "pairs": "-" if found is None else str(found.pairs),
        "after": spread(after.mean, after.std, 100.0),
        "difference": "control" if found is None else spread(found.mean, found.std, 100.0, "+"),
        f"{100 * comparison.level:.0f} % interval": interval,
        "restored": spread(restored.mean, restored.std, 100.0),
        "seconds": spread(seconds.mean, seconds.std),
    }
