"""What the report says of repairs and detections of a user's own models."""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import shlex
import urllib.parse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from unlearning.records import DetectionResults, RepairResults
from unlearning.records.acceptance import PairedShare
from unlearning.reporting.classes import ClassChange, Mistake, changed_mistakes, class_changes, class_names
from unlearning.reporting.page.gallery import shrink_figure
from unlearning.reporting.page.shown import OwnFiles, Suspect

_MOST_PAIRS = 12


@dataclasses.dataclass(frozen=True)
class ShownOwn:
    """One record of `repair` or `detect`.

    Attributes:
        name: Path of the record below the folder, without its ending.
        result: What came out, in a sentence.
        record: The record.
        repair: The same, where it is of a repair.
        detection: That of the detection, where there was one.
        accuracies: What was measured, and its share before and after.
        decided: What decided whether the repaired model was taken, by name.
        classes: What changed by class, most first.
        mistakes: Which mistakes became fewer or more.
        suspects: The most suspicious rows.
        listed: Number of rows in the list of suspects.
        pairs: Given and suggested label of the suspects, and how many there are.
        figure: The picture of the scores as a data URI; empty without one.
        review: Where the page to decide on is, from the report; empty without one.
        command: The command that was given; empty where it is not known.
        settings: Settings of method or detector as JSON.
    """

    name: str
    result: str
    record: RepairResults | DetectionResults
    repair: RepairResults | None
    detection: DetectionResults | None
    accuracies: tuple[tuple[str, float, float], ...]
    decided: tuple[tuple[str, PairedShare], ...]
    classes: tuple[ClassChange, ...]
    mistakes: tuple[Mistake, ...]
    suspects: tuple[Suspect, ...]
    listed: int
    pairs: tuple[tuple[str, str, int], ...]
    figure: str
    review: str
    command: str
    settings: str

    def label(self, number: int | None) -> str:
        """What a class is called."""
        names = self.detection.class_names if self.detection is not None else None
        return "–" if number is None else class_names(names, number + 1)[number] if number >= 0 else str(number)


def show_own(found: OwnFiles, most: int, out: Path) -> ShownOwn:
    """Makes of a record what the page shows.

    Args:
        found: The record, and what stands beside it.
        most: How many suspects to show.
        out: Where the report goes.

    Returns:
        What to show.
    """
    own, rows, record = found.own, found.suspects, found.own.results
    assert record is not None
    repair = record if isinstance(record, RepairResults) else None
    detection = repair.detection if repair is not None else record if isinstance(record, DetectionResults) else None
    small = None if found.figure is None else shrink_figure(found.figure)
    decided = [] if repair is None or repair.acceptance is None else [("validation", repair.acceptance.validation)]
    if repair is not None and repair.acceptance is not None and repair.acceptance.flagged is not None:
        decided.append(("flagged rows", repair.acceptance.flagged))
    settings = repair.hyperparameters if repair is not None else record.options  # type: ignore[union-attr]
    shown = ShownOwn(
        name=own.name,
        result=_sentence(record),
        record=record,
        repair=repair,
        detection=detection,
        accuracies=() if repair is None else _accuracies(repair),
        decided=tuple(decided),
        classes=() if repair is None else tuple(class_changes(repair)),
        mistakes=() if repair is None else tuple(changed_mistakes(repair)),
        suspects=tuple(rows[:most]),
        listed=len(rows),
        pairs=(),
        figure="" if small is None else f"data:image/png;base64,{base64.b64encode(small).decode()}",
        review=urllib.parse.quote(os.path.relpath(own.review, out.parent)) if own.review.is_file() else "",
        command=shlex.join(["python", "cli.py", *record.command]) if record.command else "",
        settings=json.dumps(settings, indent=1),
    )
    return dataclasses.replace(shown, pairs=_pairs(shown, rows))


def _accuracies(repair: RepairResults) -> tuple[tuple[str, float, float], ...]:
    found = (
        ("test rows", repair.test_accuracy_before, repair.test_accuracy_after),
        ("validation rows", repair.validation_accuracy_before, repair.validation_accuracy_after),
        ("flagged rows, by their corrected label", repair.corrected_accuracy_before, repair.corrected_accuracy_after),
    )
    return tuple((name, before, after) for name, before, after in found if before is not None and after is not None)


def _sentence(record: RepairResults | DetectionResults) -> str:
    if isinstance(record, DetectionResults):
        share = f"{100 * record.suspect_share:.1f} %"
        return f"{record.detector} suspects {record.suspects:,} of {record.rows:,} rows, {share} ({record.status})."
    what = f"{record.method} with {record.flagged_rows:,} rows flagged"
    if not record.applied:
        return f"{what}: the model is as it was ({record.status.replace('_', ' ')})."
    change = 100 * (record.test_accuracy_after - record.test_accuracy_before)
    return (
        f"{what}: {100 * record.test_accuracy_before:.1f} → {100 * record.test_accuracy_after:.1f} % of the test rows "
        f"are told right, {change:+.1f} points, in {record.unlearning_duration_s:,.0f} s."
    )


def _pairs(shown: ShownOwn, rows: Sequence[Suspect]) -> tuple[tuple[str, str, int], ...]:
    counted = Counter((row.given, row.corrected) for row in rows if row.corrected != row.given)
    found = counted.most_common(_MOST_PAIRS)
    return tuple((shown.label(a), "removed" if b is None else shown.label(b), count) for (a, b), count in found)
