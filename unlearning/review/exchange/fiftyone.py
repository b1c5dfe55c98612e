"""FiftyOne's JSON for image classification: suspects go out with their suggested labels, labels come back.

The archive is a `FiftyOneImageClassificationDataset`: `labels.json` with `classes` and, under each image's path without
its suffix, the index of its label, or null; and in `data/` pictures of rows that are no files. Of files the images
themselves are the data: give their folder as `data_path`. A label that a person left alone is a suggestion that was
right; null is undecided.

https://docs.voxel51.com/user_guide/import_datasets.html#fiftyoneimageclassificationdataset
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

from unlearning.errors import InputError
from unlearning.files import writing
from unlearning.review.exchange.decisions import REMOVE, Decision, Pictures, find_row, has_pictures, label_of, name_row
from unlearning.review.sheet import Sheet

FILES = ("-fiftyone.zip",)
SHOWS_TEXT = False
LABELS = "labels.json"


def write(paths: tuple[Path, ...], sheet: Sheet) -> None:
    """Writes the archive.

    Args:
        paths: The `.zip` file.
        sheet: What is asked.
    """
    labels: dict[str, int | None] = {}
    pictures, own = Pictures(sheet), has_pictures(sheet)
    with writing(paths[0]) as aside, zipfile.ZipFile(aside, "w", zipfile.ZIP_DEFLATED) as archive:
        for place in range(len(sheet.rows)):
            name, suggested = name_row(sheet, place), int(sheet.suggested[place])
            stem = name if sheet.source.files is None else str(PurePosixPath(name).with_suffix(""))
            labels[stem] = None if suggested == sheet.given[place] else suggested
            if own:
                archive.writestr(f"data/{name}.png", pictures.png(place))
        content = {"classes": [*sheet.source.names(), REMOVE], "labels": labels}
        archive.writestr(LABELS, json.dumps(content, indent=1))


def read(content: Any, source: str) -> list[Decision]:
    """Reads labels.

    Args:
        content: The JSON value.
        source: Where it was read, for messages.

    Returns:
        One decision an image with a label.

    Raises:
        InputError: If it is no such file, or an image has several labels.
    """
    classes, labels = content.get("classes"), content.get("labels")
    if not isinstance(labels, dict) or not (classes is None or isinstance(classes, list)):
        raise InputError(f"{source} is no labels.json of FiftyOne: expected `classes` and `labels`.")
    found = []
    for name, told in labels.items():
        told = told[0] if isinstance(told, list) and len(told) == 1 else told
        told = told.get("label") if isinstance(told, dict) else told
        if told is None:
            continue
        if isinstance(told, int) and not isinstance(told, bool) and classes is not None and 0 <= told < len(classes):
            told = classes[told]
        if not isinstance(told, str):
            raise InputError(f"{source}: expected one label for {name[:100]!r}, by its name or its index in `classes`.")
        row = find_row(name)
        found.append(Decision(row, None if row is not None else name, label_of(told)))
    return found
