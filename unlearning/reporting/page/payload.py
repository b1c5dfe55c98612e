"""What the page's charts are drawn from, as JSON-ready values; keys are short, since there are many."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from unlearning.drawing.palette import look
from unlearning.records import TrainResults, UnlearningResults
from unlearning.reporting.page.charts import lighten
from unlearning.reporting.page.gallery import Galleries, shrink_figure
from unlearning.reporting.page.shown import Gathered

_DIGITS = 4


def make_payload(
    gathered: Gathered,
    labels: Sequence[str],
    rows: Sequence[Sequence[Mapping[str, Any]]],
    galleries: Sequence[Galleries],
    names: Sequence[list[str] | None],
) -> dict[str, Any]:
    """Returns what the charts are drawn from.

    Args:
        gathered: What to show.
        labels: What each experiment is called.
        rows: Its table, as `headline` returns it.
        galleries: Its pictures.
        names: The names of its classes, where they are known.
    """
    images = _Images()
    repairs, detections = [], []
    for number, shown in enumerate(gathered.experiments):
        for cell, repair, results in shown.repairs():
            repairs.append(
                {
                    "e": number,
                    "b": cell.budget,
                    "s": cell.seed,
                    "m": repair.label,
                    **_scores(results),
                    "measure": repair.measure,
                    "curves": [{"k": c.name, "d": c.damped, "x": c.iterations, "y": c.values} for c in repair.curves],
                    "figures": {when: images.add(png, figure=True) for when, png in repair.confusions.items()},
                }
            )
        for cell in shown.cells:
            for found in cell.detections:
                detections.append(
                    {
                        "e": number,
                        "b": cell.budget,
                        "s": cell.seed,
                        "d": found.name,
                        "threshold": found.results.threshold,
                        "counts": found.counts,
                        "edges": found.edges,
                        "figure": images.add(found.figure, figure=True),
                    }
                )
    return {
        "experiments": [
            {
                "label": label,
                "classes": own,
                "clean": {seed: _recalls(results) for seed, results in shown.clean.items()},
            }
            for label, shown, own in zip(labels, gathered.experiments, names, strict=True)
        ],
        "looks": {row["name"]: describe_look(row["name"]) for found in rows for row in found},
        "rows": [
            {"e": number, "b": row["budget"], "m": row["name"], "control": row["control"]}
            | {key: _rounded(row[key]) for key in ("clean", "before", "after", "restored", "seconds")}
            for number, found in enumerate(rows)
            for row in found
        ],
        "repairs": repairs,
        "detections": detections,
        "galleries": [
            {
                "e": number,
                "b": gallery.budget,
                "s": gallery.seed,
                "d": gallery.name,
                "influence": gallery.influence,
                "repair": gallery.repair,
                "items": [
                    {**{key: value for key, value in vars(p).items() if key != "png"}, "i": images.add(p.png)}
                    for p in gallery.pictures
                ],
            }
            for number, drawn in enumerate(galleries)
            for gallery in drawn.galleries
        ],
        "images": images.uris,
    }


def describe_look(name: str) -> dict[str, str]:
    """Returns a method's look in both themes."""
    style = look(name)
    return {"light": style.colour, "dark": lighten(style.colour), "marker": style.marker, "dash": style.dash}


class _Images:
    """Data URIs, each once however often it is used."""

    def __init__(self) -> None:
        self.uris: list[str] = []
        self._known: dict[str, int | None] = {}

    def add(self, content: bytes | None, *, figure: bool = False) -> int | None:
        if content is None:
            return None
        key = hashlib.sha256(content).hexdigest()
        if key not in self._known:
            small = shrink_figure(content) if figure else content
            self._known[key] = None if small is None else len(self.uris)
            if small is not None:
                self.uris.append(f"data:image/png;base64,{base64.b64encode(small).decode()}")
        return self._known[key]


def _scores(results: UnlearningResults) -> dict[str, Any]:
    """The numbers of one repair; of no more classes than it has scores or counts of."""
    reports = results.class_report_before, results.class_report_after
    counted = results.confusion_before, results.confusion_after
    count = min(results.num_classes, max(len(found) for found in (*reports, *counted, ()) if found is not None))
    return {
        "method": results.method,
        "clean": _rounded(results.acc_clean),
        "before": _rounded(results.acc_before_fix),
        "after": _rounded(results.acc_after_fix),
        "restored": _rounded(results.acc_perc_restored),
        "seconds": _rounded(results.unlearning_duration_s),
        "status": results.status,
        "applied": results.applied,
        "validation": _rounded([results.validation_accuracy_before, results.validation_accuracy_after]),
        "wrong": _rounded([results.bad_label_agreement_before, results.bad_label_agreement_after]),
        "membership": _rounded([results.membership_auc_before, results.membership_auc_after]),
        "classes": count,
        "recall": [
            None
            if report is None
            else [_rounded(report[str(k)].recall) if str(k) in report else None for k in range(count)]
            for report in reports
        ],
        "confusion": [
            counts if counts is not None and {len(counts), *map(len, counts)} == {count} else None
            for counts in (results.confusion_before, results.confusion_after)
        ],
    }


def _recalls(clean: TrainResults) -> list[float | None]:
    """A clean model's recall by class."""
    found = clean.__pydantic_extra__
    return [_rounded(found[str(k)].recall) if str(k) in found else None for k in range(len(found))]


def _rounded(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_rounded(item) for item in value]
    return value if value is None or isinstance(value, bool) else round(float(value), _DIGITS)
