"""Rendering what was gathered as one HTML file that needs nothing else: no network, no second file.

Everything that comes from folders is text: Jinja escapes it in the page, `_embed` escapes it in the JSON that the
charts are drawn from, and the page's content security policy runs the two scripts it was made with and no others.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import importlib.resources
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearning.drawing.shell import embed
from unlearning.errors import InputError, one_line
from unlearning.files import check_outputs, write_text
from unlearning.records import finite
from unlearning.reporting.page.charts import draw_static
from unlearning.reporting.page.commands import reproduce
from unlearning.reporting.page.gallery import Galleries, draw_galleries
from unlearning.reporting.page.gather import gather
from unlearning.reporting.page.headline import count_cells, headline
from unlearning.reporting.page.own import ShownOwn, show_own
from unlearning.reporting.page.payload import describe_look, make_payload
from unlearning.reporting.page.shown import Cell, Gathered, Shown, State

if TYPE_CHECKING:
    from markupsafe import Markup

_FEWEST_ROWS = 50  # of a list of suspects without pictures
_SCRIPTS = ("table.js", "charts.js", "overview.js", "repair.js", "detection.js")  # parts of one function, in order


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

    Raises:
        InputError: If the installed plotly cannot be embedded.
    """
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    names = [_class_names(shown, drawn) for shown, drawn in zip(gathered.experiments, galleries, strict=True)]
    labels = _short_labels([shown.label for shown in gathered.experiments])
    rows = [headline(shown) for shown in gathered.experiments]
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"uri": _svg_uri, "grouped": _grouped}
    environment.globals |= {"percent": _percent, "seconds": _seconds}
    # A line end in a script would be read as another one than was hashed.
    script, plotly = (text.replace("\r\n", "\n") for text in (_script(), get_plotlyjs()))
    if "</script" in plotly.lower() or "</script" in script.lower():
        raise InputError("The installed plotly cannot be embedded in a page: its bundle ends a script element.")
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
                "static": static,
                "notes": (*drawn.notes, *missing),
                "cells": [_cell(shown, cell) for cell in shown.cells if cell.state != "missing" or cell.train_config],
            }
            for number, (label, shown, found, drawn) in enumerate(
                zip(labels, gathered.experiments, rows, galleries, strict=True)
            )
            for static, missing in [_static(found)]
        ],
        counts=count_cells(gathered),
        detections=sum(len(cell.detections) for shown in gathered.experiments for cell in shown.cells),
        spread_over_seeds=any(row["seeds"] > 1 for found in rows for row in found),
        budgets=sorted({row["budget"] for found in rows for row in found}),
        environments=_environments(gathered),
        looks={row["name"]: describe_look(row["name"]) for found in rows for row in found},
        css=_asset("page.css"),
        script=script,
        plotly=plotly,
        hashes=" ".join(f"'sha256-{_digest(text)}'" for text in (script, plotly)),
        data=_embed(make_payload(gathered, labels, rows, galleries, names)),
    )


def _static(rows: Sequence[Any]) -> tuple[tuple[bytes, bytes] | None, tuple[str, ...]]:
    """The charts for readers without JavaScript, and what to say where they cannot be drawn."""
    try:
        return (draw_static(rows) if rows else None), ()
    except Exception as error:  # Matplotlib meets absurd numbers in many ways; the page is about more
        return None, (f"No charts without JavaScript: {one_line(error)}.",)


def _asset(name: str) -> str:
    return importlib.resources.files(__package__).joinpath("assets", name).read_text(encoding="utf-8")


def _script() -> str:
    return "\n".join(['"use strict";', "(() => {", *map(_asset, _SCRIPTS), "})();\n"])


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _embed(content: Any) -> Markup:
    """See `embed`; numbers that are none become null."""
    return embed(finite(content))


def _percent(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{100 * value:.{digits}f}"


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


def _cell(shown: Shown, cell: Cell) -> dict[str, Any]:
    """Configurations and commands of a cell, as the section on reproducing shows them."""
    repairs = []
    for repair in cell.repairs:
        command = note = ""
        if repair.config is not None and cell.train_config is not None and cell.poison_config is not None:
            try:
                command = reproduce(shown.label, cell.train_config, cell.poison_config, repair.config)
            except Exception as error:  # hyperparameters in a record may be anything that JSON can hold
                note = f"No command: {one_line(error, 300)}"
        config = "" if repair.config is None else _config(repair.config)
        repairs.append({"name": repair.name, "state": repair.state, "command": command, "note": note, "config": config})
    configs = [config for config in (cell.train_config, cell.poison_config) if config is not None]
    return {"cell": cell, "configs": [_config(config) for config in configs], "repairs": repairs}


def _config(config: Any) -> str:
    return json.dumps(config.model_dump(mode="json", by_alias=True), indent=1)
