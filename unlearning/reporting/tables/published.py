"""Published tables: which there are, what makes one, and its numbers beside those that were made now."""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence

import pandas as pd

from unlearning.experiments.published.config import PublishedTable, Run
from unlearning.experiments.published.reproducing import Compared, Step
from unlearning.experiments.results.columns import COLUMNS
from unlearning.reporting.tables.text import WIDTH, render, spread

_TEXT = 80  # columns of prose
_SHARED = ("methods", "seeds", "budgets", "within", "detect")


def format_tables(tables: Mapping[str, PublishedTable]) -> str:
    """Formats the list of published tables, by name."""
    lines = []
    for name, table in tables.items():
        sets = ", ".join(dict.fromkeys(run.dataset for run in table.runs))
        lines.append(f"{name:<20}  {sets}, {_duration(table)}")
        lines += textwrap.wrap(table.title, _TEXT, initial_indent="  ", subsequent_indent="  ")
    return "\n".join(lines) or "There are no published tables here."


def format_steps(table: PublishedTable, planned: Sequence[Step]) -> str:
    """Formats what makes a table, and what of it is there."""
    lines = [*_wrap(table.title), *_wrap(table.note), ""]
    for number, step in enumerate(planned, 1):
        run = step.run
        done = sum(step.repairs.values())
        lines.append(f"Run {number} of {len(planned)}: {step.setup.folder}, {done} of {len(step.repairs)} repairs done")
        budgets = ", ".join(map(str, run.budgets or ()))
        lines.append(f"  budget {budgets}; seeds {', '.join(map(str, run.seeds))}")
        lines += _wrap("settings: " + (", ".join(_settings(run)) or "none changed"), "  ")
        if run.detect is not None:
            lines += _wrap(f"flagged rows: {_assigned(run.detect.config())}", "  ")
        for choice, planned_repair in zip(run.methods, step.setup.repairs, strict=True):
            changed = f": {_assigned(choice.overrides)}" if choice.overrides else ""
            lines += _wrap(f"{planned_repair.label}{changed}", "  - ", "    ")
    hardware = table.hardware
    lines += ["", *_wrap(f"Published from {hardware.machine}, {hardware.threads} threads: {_duration(table)}.")]
    lines.append(f"Numbers to compare with: {len(table.expected.rows)}.")
    return "\n".join(lines)


def format_comparison_with_published(compared: Sequence[Compared], width: int = WIDTH) -> str:
    """Formats measured numbers beside the expected ones, and says which differ by more than the spread.

    Args:
        compared: The numbers.
        width: Columns of the terminal.

    Returns:
        The text.
    """
    rows = []
    for one in compared:
        expected = one.expected
        seeds = f"{one.found.count}" if one.found.count == expected.seeds else f"{one.found.count} of {expected.seeds}"
        rows.append(
            {
                "method": expected.method,
                "number": COLUMNS[expected.column].title,
                "seeds": seeds,
                "expected": spread(expected.mean, expected.std),
                "measured": spread(one.found.mean, one.found.std),
                "difference": "-" if one.difference is None else f"{round(one.difference, 1) + 0.0:+.1f}",  # no -0.0
                "spread": spread(one.spread, None),
                "verdict": one.verdict,
            }
        )
    counts = Counter(one.verdict for one in compared)
    lines = [render(pd.DataFrame(rows), "method", width, ("spread", "seeds", "difference")), ""]
    others = "".join(f", {number} {verdict}" for verdict, number in counts.items() if verdict != "within")
    lines.append(f"{counts['within']} of {len(compared)} numbers are within the spread of the published ones{others}.")
    for one in compared:
        if one.verdict == "beyond":
            title = COLUMNS[one.expected.column].title
            text = f"{one.expected.method}, {title}: {one.difference:+.2f}, where the spread is {one.spread:.2f}"
            lines += _wrap(text, "- ", "  ")
    lines += _wrap(
        "spread: standard deviation over the published seeds, or, of one seed, what the number of test rows explains; "
        "beyond: the difference is larger."
    )
    return "\n".join(lines)


def describe_comparison(compared: Sequence[Compared]) -> list[dict[str, object]]:
    """Returns the same as JSON-ready values."""
    return [
        {
            **one.expected.config(),
            "found_mean": one.found.mean,
            "found_std": one.found.std,
            "found_seeds": one.found.count,
            "spread": one.spread,
            "difference": one.difference,
            "verdict": one.verdict,
        }
        for one in compared
    ]


def _duration(table: PublishedTable) -> str:
    minutes = table.hardware.minutes
    return f"{minutes:g} minutes" if minutes < 90 else f"{minutes / 60:.1f} hours"


def _settings(run: Run) -> list[str]:
    fields = {name: field for name, field in Run.model_fields.items() if name not in _SHARED}
    values = {name: getattr(run, name) for name, field in fields.items() if getattr(run, name) != field.default}
    return [f"{name}={_text(value)}" for name, value in values.items()]


def _assigned(values: Mapping[str, object]) -> str:
    return ", ".join(f"{name}={_text(value)}" for name, value in values.items())


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _wrap(text: str, first: str = "", following: str | None = None) -> list[str]:
    return textwrap.wrap(
        " ".join(text.split()),
        _TEXT,
        initial_indent=first,
        subsequent_indent=first if following is None else following,
    )
