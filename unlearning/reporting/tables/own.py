"""What `repair` and `detect` wrote about a user's own model, as tables."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

import pandas as pd

from unlearning.experiments.results.tree import Own
from unlearning.records import RepairResults
from unlearning.reporting.classes import changed_mistakes, class_changes
from unlearning.reporting.tables.detections import format_detection
from unlearning.reporting.tables.models import format_repair
from unlearning.reporting.tables.text import WIDTH, number, prose, render, shorten

_MOST_CLASSES = 10


def format_own(found: Sequence[Own], width: int = WIDTH) -> str:
    """Formats the records of a user's own models: each with its table, what changed by class, files and command."""
    return "\n\n".join("\n".join(_one(own, width)) for own in found)


def _one(own: Own, width: int) -> list[str]:
    record = own.results
    assert record is not None  # only what can be read is listed
    lines = [f"{shorten(own.name, width - 1)}:"]
    told = format_repair(record) if isinstance(record, RepairResults) else format_detection(record, width)
    for line in told.splitlines():
        lines += prose(line, width) if len(line) > width else [line]
    if isinstance(record, RepairResults):
        lines += _classes(record, width)
    beside = [path.name for path in (own.suspects, own.review, own.figure) if path.is_file()]
    lines += prose(f"Beside it: {', '.join(beside)}.", width) if beside else []
    if record.command:
        lines += ["", *_command(record.command, width)]
    return lines


def _classes(record: RepairResults, width: int) -> list[str]:
    changes = class_changes(record)
    if not changes:
        return []
    rows = [
        {
            "class": one.name,
            "rows": one.rows,
            "before": number(100 * one.before),
            "after": number(100 * one.after),
            "change": number(100 * one.change, "+"),
        }
        for one in changes[:_MOST_CLASSES]
    ]
    lines = ["", *prose("Test rows told right by class, in %, those that changed most first:", width)]
    lines += render(pd.DataFrame(rows), "class", width).splitlines()
    left = len(changes) - len(rows)
    lines += [f"{left} more classes changed by at most {number(100 * abs(changes[len(rows)].change))}."] if left else []
    mistakes = [f"{one.label} taken for {one.said}: {one.before} -> {one.after}" for one in changed_mistakes(record)]
    return lines + (prose(f"Mistakes, in rows: {'; '.join(mistakes)}.", width) if mistakes else [])


def _command(words: Sequence[str], width: int) -> list[str]:
    """The command, broken before its options, so that a shell still takes it."""
    lines = ["python cli.py"]
    for word in map(shlex.quote, words):
        if word.startswith("--") and len(lines[-1]) + len(word) + 24 > width:
            lines[-1] += " \\"
            lines.append("   ")
        lines[-1] += f" {word}"
    return lines
