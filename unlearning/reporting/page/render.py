"""Rendering what was gathered as one HTML file that needs nothing else: no network, no second file.

Everything that comes from folders is text: Jinja escapes it in the page, `_embed` escapes it in the JSON that the
charts are drawn from, and the page's content security policy runs the script it was made with and no other.
"""

from __future__ import annotations

import base64
import dataclasses
import importlib.resources
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearning.drawing.shell import embed, policy
from unlearning.errors import InputError, one_line
from unlearning.experiments.results.columns import COLUMNS
from unlearning.files import check_outputs, write_text
from unlearning.records import finite
from unlearning.reporting.page.about import describe_program
from unlearning.reporting.page.answer import answers
from unlearning.reporting.page.charts import draw_static
from unlearning.reporting.page.gallery import Galleries, draw_galleries
from unlearning.reporting.page.gather import gather
from unlearning.reporting.page.headline import LEADING, MORE, count_cells, headline
from unlearning.reporting.page.made import list_made
from unlearning.reporting.page.own import ShownOwn, show_own
from unlearning.reporting.page.payload import describe_looks, make_payload
from unlearning.reporting.page.shown import Gathered, Shown, State

if TYPE_CHECKING:
    from markupsafe import Markup

_FEWEST_ROWS = 50  # of a list of suspects without pictures
_SCRIPTS = ("page.js", "table.js", "charts.js", "overview.js", "drawer.js", "detection.js")
"""Parts of one function, in order."""

_GLOSSARY = (
    (
        "clean, poisoned, repaired model",
        "trained on true labels; trained on labels of which some are wrong; after a repair",
    ),
    ("bad rows", "training rows whose label or image is wrong; their number is the budget"),
    (
        "told",
        "what a repair knew: the bad rows' right labels, which rows are bad, or nothing; detected: it looked for them",
    ),
    ("restored", "(after - before) / (clean - before), of test accuracy"),
    ("wrong label still said", "share of the bad rows whose wrong label the model still predicts"),
    ("share of training", "processor time of the repair, as a share of that of training the poisoned model"),
    (
        "validation",
        "noisy: choices were made on labels as wrong as the training labels, all that a user has; clean: on true ones",
    ),
    (
        "improved on validation",
        "better than before by more than chance, on validation rows that chose nothing; no test row decides anything",
    ),
    ("control", "what a repair must beat; it is never called the best"),
    ("gold standard", "what there is to reach, at any cost"),
    (
        "best",
        "at one budget, of those with the same validation and told the same: ahead of each rival by more than chance, "
        "which is an interval of the difference, paired by seed, that excludes 0, and more than the test rows explain",
    ),
    ("tie", "first, or not told apart from the first by that rule"),
    ("ahead", "first by more than the test rows explain, of too few seeds to say more"),
    ("±", "standard deviation over seeds; of one seed the 95 % interval of the accuracy that its test rows leave"),
)


@dataclasses.dataclass(frozen=True)
class Written:
    """What `write_report` wrote.

    Attributes:
        size: Bytes.
        repairs: Finished repairs on the page.
        own: Repairs and detections of a user's own models.
        cells: Cells by state.
        problems: Files that could not be read.
    """

    size: int
    repairs: int
    own: int
    cells: dict[State, int]
    problems: int


def write_report(
    folders: Sequence[Path],
    out: Path,
    *,
    images: int = 24,
    dataset: str | None = None,
    data_dir: str | None = None,
    force: bool = False,
) -> Written:
    """Writes the report page on experiment folders.

    Args:
        folders: Experiment folders, or folders that hold some; a sweep may be filling them.
        out: The HTML file.
        images: Most pictures a detection; 0 loads no data set and no model.
        dataset: Path of the data, where they are a file or folder.
        data_dir: Folder of prepared tensorflow-datasets sets; nothing is downloaded.
        force: Replace an existing file.

    Returns:
        What was written.

    Raises:
        InputError: If a folder is missing or holds nothing, or the file exists or cannot be written.
    """
    if out.suffix not in (".html", ".htm"):
        raise InputError("out", "a path ending in .html", str(out))
    if images < 0:
        raise InputError("images", "0 or a positive integer", images)
    check_outputs((out,), force)
    gathered = gather(folders, images)
    galleries = [draw_galleries(shown, images, dataset=dataset, data_dir=data_dir) for shown in gathered.experiments]
    page = render(gathered, galleries, [show_own(found, max(images, _FEWEST_ROWS), out) for found in gathered.own])
    write_text(out, page)
    return Written(
        size=len(page.encode()),
        repairs=sum(1 for shown in gathered.experiments for _ in shown.repairs()),
        own=len(gathered.own),
        cells=count_cells(gathered),
        problems=len(gathered.problems),
    )


def render(gathered: Gathered, galleries: Sequence[Galleries], own: Sequence[ShownOwn] = ()) -> str:
    """Returns the page.

    Args:
        gathered: What to show.
        galleries: Pictures, one entry an experiment.
        own: What was done to a user's own models.

    Returns:
        The HTML text; the same for the same input.
    """
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    names = [_class_names(shown, drawn) for shown, drawn in zip(gathered.experiments, galleries, strict=True)]
    labels = _short_labels([shown.label for shown in gathered.experiments])
    rows = [headline(shown) for shown in gathered.experiments]
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"uri": _svg_uri, "grouped": _grouped}
    environment.globals |= {"percent": _percent, "seconds": _seconds, "number": _number}
    script = _script()
    data = make_payload(gathered, labels, rows, galleries, names)
    return environment.from_string(_asset("page.html")).render(
        gathered=gathered,
        own=own,
        own_sections=Markup(environment.from_string(_asset("own.html")).render(own=own)),
        experiments=[
            {
                "number": number,
                "label": label,
                "shown": shown,
                "rows": found,
                "answers": answers(shown, found),
                "made": list_made(shown),
                "static": static,
                "missing": missing,
                "notes": drawn.notes,
            }
            for number, (label, shown, found, drawn) in enumerate(
                zip(labels, gathered.experiments, rows, galleries, strict=True)
            )
            for static, missing in [_static(found)]
        ],
        counts=count_cells(gathered),
        detections=sum(len(cell.detections) for shown in gathered.experiments for cell in shown.cells),
        columns=COLUMNS,
        leading=LEADING,
        more=MORE,
        environments=_environments(gathered),
        program=describe_program(),
        looks=describe_looks(row["name"] for found in rows for row in found),
        glossary=_GLOSSARY,
        css=_asset("page.css"),
        script=script,
        policy=policy(script),
        data=_embed(data),
    )


def _static(rows: Sequence[Any]) -> tuple[bytes | None, str]:
    """The charts for readers without JavaScript, and what to say where they cannot be drawn."""
    try:
        return (draw_static(rows) if rows else None), ""
    except Exception as error:  # Matplotlib meets absurd numbers in many ways; the page is about more
        return None, f"No charts without JavaScript: {one_line(error)}."


def _asset(name: str) -> str:
    return importlib.resources.files(__package__).joinpath("assets", name).read_text(encoding="utf-8")


def _script() -> str:
    return "\n".join(['"use strict";', "(() => {", *map(_asset, _SCRIPTS), "})();\n"])


def _embed(content: Any) -> Markup:
    """See `embed`; numbers that are none become null."""
    return embed(finite(content))


def _percent(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{100 * value:.{digits}f}"


def _number(name: str, pair: tuple[float | None, float | None]) -> str:
    """Mean and standard deviation of a column, in its unit."""
    column, digits = COLUMNS[name], max(COLUMNS[name].digits, 1)
    if pair[0] is None:
        return "–"
    parts = [column.scale * value for value in pair if value is not None]
    shown = [f"{value:{column.sign if not place else ''},.{digits}f}" for place, value in enumerate(parts)]
    return "\u00a0±\u00a0".join(shown) if max(map(abs, parts)) < 1e12 else f"{parts[0]:.2e}"


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:,.1f}" if value < 1000 else f"{value:,.0f}"


def _grouped(value: int) -> str:
    return f"{value:,}"


def _svg_uri(content: bytes) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(content).decode()}"


def _short_labels(labels: Sequence[str]) -> list[str]:
    """Labels without the folders that all of them begin with."""
    parts = [label.split("/") for label in labels]
    shared = 0
    while len(parts) > 1 and all(len(own) > shared + 1 and own[shared] == parts[0][shared] for own in parts):
        shared += 1
    return ["/".join(own[shared:]) for own in parts]


def _class_names(shown: Shown, drawn: Galleries) -> list[str] | None:
    return shown.class_names() or (None if drawn.class_names is None else list(drawn.class_names))


def _environments(gathered: Gathered) -> list[dict[str, Any]]:
    """The environments that results were made with, and how many of each."""
    counts: dict[str, tuple[dict[str, Any], int]] = {}
    for shown in gathered.experiments:
        clean = {results.config_hash: results for results in shown.clean.values()}
        trained = (*clean.values(), *(cell.training for cell in shown.cells))
        found = [result.environment for result in trained if result is not None]
        for environment in (*found, *(results.environment for _, _, results in shown.repairs())):
            content = environment.model_dump()
            key = json.dumps(content)
            counts[key] = content, counts.get(key, (content, 0))[1] + 1
    return [{**content, "results": count} for content, count in counts.values()]
