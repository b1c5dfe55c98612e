"""Label Studio's JSON: suspects go out as tasks with predictions, annotations with choices come back.

A task's `data` hold the image and what is known of its row; a prediction chooses the suggested label. The labeling
interface that the names fit (`from_name` and `to_name`) is written beside it. Images that are files are named as Label
Studio's local storage names them, `/data/local-files/?d=` and the path, to be changed where they lie elsewhere; rows
without files bring their pictures along.

https://labelstud.io/guide/predictions, https://labelstud.io/guide/task_format, https://labelstud.io/tags/choices
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

from unlearning.errors import InputError
from unlearning.files import write_text
from unlearning.review.content import describe_rows, is_picture
from unlearning.review.exchange.decisions import REMOVE, Decision, Pictures, label_of
from unlearning.review.sheet import Sheet

FILES = ("-label-studio.json", "-label-studio.xml")
SHOWS_TEXT = True
_CHOICE = "corrected_label"


def write(paths: tuple[Path, ...], sheet: Sheet) -> None:
    """Writes tasks, and the labeling interface for them.

    Args:
        paths: The JSON file and the XML file.
        sheet: What is asked.
    """
    names, kind = sheet.source.names(), "image" if is_picture(sheet.source.split.images) else "text"
    texts, pictures, files = describe_rows(sheet), Pictures(sheet), sheet.source.files
    tasks = []
    for place, row in enumerate(sheet.rows.tolist()):
        given, suggested = int(sheet.given[place]), int(sheet.suggested[place])
        data: dict[str, Any] = {
            "row": row,
            "given_label": names[given],
            "suggested_label": names[suggested],
            "score": float(f"{sheet.scores[place]:.6g}"),
        }
        if files is not None:
            data["file"] = files[row]
        if texts:
            data["text"] = texts[place]
        if kind == "image" and files is not None:
            data["image"] = f"/data/local-files/?d={quote(files[row])}"
        elif kind == "image":
            data["image"] = f"data:image/png;base64,{base64.b64encode(pictures.png(place)).decode()}"
        task: dict[str, Any] = {"data": data}
        if suggested != given:
            value = {"choices": [names[suggested]]}
            chosen = {"id": "suggested", "from_name": _CHOICE, "to_name": kind, "type": "choices", "value": value}
            task["predictions"] = [{"model_version": "unlearning", "result": [chosen]}]
        tasks.append(task)
    write_text(paths[0], json.dumps(tasks, indent=1))
    write_text(paths[1], _interface(names, kind, bool(texts)))


def _interface(names: list[str], kind: str, texts: bool) -> str:
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Header", value="given: $given_label, suggested: $suggested_label")
    if kind == "image":
        ElementTree.SubElement(view, "Image", name="image", value="$image")
    if texts:
        ElementTree.SubElement(view, "Text", name="text", value="$text")
    choices = ElementTree.SubElement(view, "Choices", name=_CHOICE, toName=kind, choice="single", showInline="true")
    for name in (*names, REMOVE):
        ElementTree.SubElement(choices, "Choice", value=name)
    ElementTree.indent(view)
    return ElementTree.tostring(view, encoding="unicode") + "\n"


def read(content: Any, source: str) -> list[Decision]:
    """Reads annotated tasks; those that nobody annotated, and annotations that were cancelled, decide nothing.

    Args:
        content: The JSON value.
        source: Where it was read, for messages.

    Returns:
        One decision an annotated task: the last annotation, where there are several.

    Raises:
        InputError: If it is no such list of tasks.
    """
    found = []
    for number, task in enumerate(content, 1):
        data = task.get("data") if isinstance(task, dict) else None
        if not isinstance(data, dict):
            raise InputError(f"{source}, task {number}: expected a task of Label Studio, with `data`.")
        told = [one for one in task.get("annotations") or [] if isinstance(one, dict) and not one.get("was_cancelled")]
        told.sort(key=lambda one: str(one.get("updated_at") or ""))
        chosen = _choice(told[-1]) if told else None
        if chosen is None:
            continue
        row, file, given = data.get("row"), data.get("file"), data.get("given_label")
        if not isinstance(row, int) and not isinstance(file, str):
            raise InputError(f"{source}, task {number}: expected `row` or `file` in its data, as `detect` exports it.")
        found.append(
            Decision(
                row if isinstance(row, int) and not isinstance(row, bool) else None,
                file if isinstance(file, str) else None,
                label_of(chosen),
                given if isinstance(given, str) else None,
            )
        )
    return found


def _choice(annotation: dict[str, Any]) -> str | None:
    """The label that an annotation chooses, or None."""
    result = annotation.get("result")
    for one in result if isinstance(result, list) else []:
        value = one.get("value") if isinstance(one, dict) and one.get("type") == "choices" else None
        chosen = value.get("choices") if isinstance(value, dict) else None
        if isinstance(chosen, list) and len(chosen) == 1 and isinstance(chosen[0], str):
            return chosen[0]
    return None
