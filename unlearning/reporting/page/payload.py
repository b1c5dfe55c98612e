"""What the page's charts are drawn from, as JSON-ready values; keys are short, since there are many."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from unlearning.drawing.palette import looks
from unlearning.experiments.results.columns import COLUMNS
from unlearning.records import TrainResults, UnlearningResults
from unlearning.reporting.page.charts import lighten
from unlearning.reporting.page.gallery import Galleries, shrink_figure
from unlearning.reporting.page.headline import LEADING, MORE, describe_status
from unlearning.reporting.page.shown import Gathered
from unlearning.reporting.solves import find_chosen

_DIGITS = 4
_MOST_STEPS = 60
_FACTS = ("before", "after", "clean", "restored", "seconds", "cpu", "training_share", "grads", "products")


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
    images, shared = _Images(), _Shared()
    repairs, detections = [], []
    for number, shown in enumerate(gathered.experiments):
        for cell, repair, results in shown.repairs():
            repairs.append(
                {
                    "e": number,
                    "b": cell.budget,
                    "s": cell.seed,
                    "m": repair.label,
                    **_scores(results, shared),
                    "measure": repair.measure,
                    "curves": [{"k": c.name, "d": c.damped, "x": c.iterations, "y": c.values} for c in repair.curves],
                    "chosen": [
                        {
                            "k": c.step,
                            "damping": float(f"{c.damping:.3g}"),
                            "x": c.iterations,
                            "y": c.residual,
                            "c": c.curve,
                        }
                        for c in find_chosen(results)
                    ],
                    "epochs": shared.add([[e, _rounded(a), float(f"{loss:.4g}")] for e, a, loss in cell.epochs]),
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
        "looks": describe_looks(row["name"] for found in rows for row in found),
        "columns": {
            name: {
                "title": COLUMNS[name].title,
                "scale": COLUMNS[name].scale,
                "digits": max(COLUMNS[name].digits, int(COLUMNS[name].scale == 100.0 or name in ("seconds", "cpu"))),
                "sign": COLUMNS[name].sign,
            }
            for name in (*LEADING, *MORE)
        },
        "rows": [
            {"e": number, "b": row["budget"], "m": row["name"], "rate": _rounded(row["rate"]), "tag": row["tag"]}
            | {"standing": row["standing"], "t": row["told"], "v": row["validation"], "k": row["known"]}
            | {"seeds": row["seeds"], "x": _rounded(row["explained"])}
            | {"n": {name: _rounded(row[name]) for name in (*LEADING, *MORE)}}
            for number, found in enumerate(rows)
            for row in found
        ],
        "repairs": repairs,
        "shared": shared.values,
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


def describe_looks(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Returns the looks of methods in both themes; no two are the same."""
    return {
        name: {
            "light": style.colour,
            "dark": lighten(style.colour),
            "marker": style.marker,
            "dash": style.dash,
            "filled": style.filled,
        }
        for name, style in looks(names).items()
    }


class _Shared:
    """Lists that many repairs have in common, such as what their poisoned model confuses, each once."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._known: dict[str, int] = {}

    def add(self, value: Any) -> int | None:
        if not value:
            return None
        key = json.dumps(value)
        if key not in self._known:
            self._known[key] = len(self.values)
            self.values.append(value)
        return self._known[key]


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


def _scores(results: UnlearningResults, shared: _Shared) -> dict[str, Any]:
    """The numbers of one repair; of no more classes than it has scores or counts of."""
    reports = results.class_report_before, results.class_report_after
    counted = results.confusion_before, results.confusion_after
    count = min(results.num_classes, max(len(found) for found in (*reports, *counted, ()) if found is not None))
    return {
        "method": results.method,
        "n": {name: _rounded(COLUMNS[name].value(results, None)) for name in _FACTS},
        "status": describe_status(results),
        "applied": results.applied,
        "validation": _rounded([results.validation_accuracy_before, results.validation_accuracy_after]),
        "wrong": _rounded([results.bad_label_agreement_before, results.bad_label_agreement_after]),
        "membership": _rounded([results.membership_auc_before, results.membership_auc_after]),
        "steps": shared.add(_steps(results)),
        "classes": count,
        "recall": [
            None
            if report is None
            else shared.add([_rounded(report[str(k)].recall) if str(k) in report else None for k in range(count)])
            for report in reports
        ],
        "confusion": [
            shared.add(counts) if counts is not None and {len(counts), *map(len, counts)} == {count} else None
            for counts in counted
        ],
    }


def _steps(results: UnlearningResults) -> list[list[float]]:
    """Accuracy on the validation rows that choose, step by step; a chain's and a search's rows follow each other."""
    values = [row.get("validation_accuracy") for row in results.history]
    found = [[number, _rounded(v)] for number, v in enumerate(values) if isinstance(v, int | float)]
    return found[:: max(1, -(-len(found) // _MOST_STEPS))] if len(found) > 1 else []


def _recalls(clean: TrainResults) -> list[float | None]:
    """A clean model's recall by class."""
    found = clean.__pydantic_extra__
    return [_rounded(found[str(k)].recall) if str(k) in found else None for k in range(len(found))]


def _rounded(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_rounded(item) for item in value]
    return value if value is None or isinstance(value, bool) else round(float(value), _DIGITS)
