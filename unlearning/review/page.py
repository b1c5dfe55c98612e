"""The page on which a person looks at suspects and decides: one file that needs no network and no second file.

Whatever comes from data is text: it stands in JSON that cannot end its element, a script makes text nodes of it, and
the page's content security policy runs that one script. The decisions are kept by the browser, under a hash of what is
asked, and leave as a CSV file that `repair --flagged` takes.
"""

from __future__ import annotations

import hashlib
import importlib.resources
import json
from pathlib import Path
from typing import Any

from unlearning.drawing import shell
from unlearning.errors import InputError
from unlearning.files import write_text
from unlearning.review.content import describe_rows, draw_rows
from unlearning.review.sheet import Sheet

MOST_PICTURES = 3000
_SCRIPTS = ("state.js", "table.js", "grid.js", "actions.js")  # parts of one function, in order
_FILES = {"suspects": "flagged.csv", "audit": "answers.csv"}


def write_page(path: Path, sheet: Sheet, *, images: int = MOST_PICTURES) -> int:
    """Writes the page.

    Args:
        path: The `.html` file; either the old one or the whole new one.
        sheet: What is asked.
        images: How many rows at most have a picture, the first ones.

    Returns:
        The number of pictures on it.

    Raises:
        InputError: If `images` is negative.
    """
    if images < 0:
        raise InputError("images", "0 or a positive integer", images)
    pictures, kind = draw_rows(sheet, images)
    write_text(path, render(sheet, pictures, kind))
    return len(pictures)


def render(sheet: Sheet, pictures: list[str], kind: str) -> str:
    """Returns the page.

    Args:
        sheet: What is asked.
        pictures: Pictures of its first rows, in base64.
        kind: Their type.

    Returns:
        The HTML text; the same for the same input.
    """
    from jinja2 import Environment, StrictUndefined

    content = _content(sheet)
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    script = "\n".join(['"use strict";', "(() => {", *map(_asset, _SCRIPTS), "})();\n"]).replace("\r\n", "\n")
    return environment.from_string(_asset("page.html")).render(
        mode=sheet.mode,
        count=len(sheet.rows),
        total=len(sheet.source.split),
        file=_FILES[sheet.mode],
        css=shell.style() + _asset("page.css"),
        policy=shell.policy(script),
        script=script,
        data=shell.embed({**content, "key": digest, "file": _FILES[sheet.mode]}),
        pictures=shell.embed({"kind": kind, "data": pictures}),
    )


def _content(sheet: Sheet) -> dict[str, Any]:
    """What the page knows of rows and classes, but for their pictures."""
    files = sheet.source.files
    return {
        "mode": sheet.mode,
        "classes": sheet.source.names(),
        "rows": sheet.rows.tolist(),
        "given": sheet.given.tolist(),
        "suggested": sheet.suggested.tolist(),
        "scores": [f"{score:.6g}" for score in sheet.scores.tolist()],
        "suspect": sheet.suspect.astype(int).tolist(),
        "files": [] if files is None else [files[row] for row in sheet.rows.tolist()],
        "texts": [_storable(text) for text in describe_rows(sheet)],
    }


def _storable(text: str) -> str:
    """Text without lone surrogates, which no file in UTF-8 holds."""
    return text.encode("utf-8", "backslashreplace").decode()


def _asset(name: str) -> str:
    return importlib.resources.files(__package__).joinpath("assets", name).read_text(encoding="utf-8")
