"""What the forms of other programs have in common: who is asked about, and what a person said."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np

from unlearning.data.pixels import pixel_range
from unlearning.drawing.thumbnails import to_picture, to_png
from unlearning.review.content import is_picture
from unlearning.review.sheet import Sheet

REMOVE = "[remove]"
"""The label that takes a row out, where a program knows labels only."""
_NAMED = re.compile(r"(?:^|/)row-([0-9]{1,18})$")
_LARGEST_SIDE = 1024


class Decision(NamedTuple):
    """What was said of a row.

    Attributes:
        row: Its number, or None.
        file: Its image file, with or without the suffix, or None.
        label: The name of the label that should stand there; None where the row is to go.
        given: The name of the label that it was given, where the file tells it, or None.
    """

    row: int | None
    file: str | None
    label: str | None
    given: str | None = None


def name_row(sheet: Sheet, place: int) -> str:
    """Returns what a row is called by programs that know files only: its file, or `row-` and its number."""
    row = int(sheet.rows[place])
    return f"row-{row:07}" if sheet.source.files is None else sheet.source.files[row]


def find_row(name: str) -> int | None:
    """Returns the number in a name that `name_row` made of it, or None."""
    stem = name[: -len(".png")] if name.endswith(".png") else name
    found = _NAMED.search(stem)
    return None if found is None else int(found[1])


def label_of(name: Any) -> str | None:
    """Returns a label as a decision has it."""
    return None if name == REMOVE else str(name)


def has_pictures(sheet: Sheet) -> bool:
    """Whether rows are images without files of their own."""
    return sheet.source.files is None and is_picture(sheet.source.split.images)


class Pictures:
    """PNG files of rows, one at a time and at their own size.

    Args:
        sheet: What is shown.
    """

    def __init__(self, sheet: Sheet) -> None:
        self._images: Any = sheet.source.split.images
        self._rows = sheet.rows
        self._scale: tuple[float, float] | None = None

    def png(self, place: int) -> bytes:
        """Returns the picture of a row, by its place on the sheet."""
        if self._scale is None:
            self._scale = pixel_range(np.asarray(self._images[self._rows[:256]], dtype=self._images.dtype))
        return to_png(to_picture(np.asarray(self._images[int(self._rows[place])]), *self._scale, _LARGEST_SIDE))
