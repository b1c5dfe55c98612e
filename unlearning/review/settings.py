"""How suspects are shown to a person, and what is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge

from unlearning.settings import Count, Option, Settings

LEAST = 10
"""Fewest questions of an audit: with fewer a stratum could hold a single one."""

Tool = Literal["label-studio", "cvat", "fiftyone"]


class ReviewSettings(Settings):
    """How suspects are shown to a person, and what is asked."""

    images: Annotated[Count, Option(metavar="N")] = 3000
    """Rows at most that have a picture on the page of suspects."""
    texts: Annotated[Path | None, Option(metavar="FILE")] = None
    """A text of every training row for the page, one a line."""
    audit: Annotated[int | None, Ge(LEAST), Option(metavar="N")] = None
    """Ask about N rows drawn at random (50 say enough), on a page of its own; --answers reads what comes back."""
    answers: Annotated[Path | None, Option(metavar="FILE")] = None
    """Answers to --audit: say how many labels are wrong, where the cut should be, and whether repair is worth it."""
    export: Annotated[Tool | None, Option(metavar="TOOL")] = None
    """Write the suspects for label-studio, cvat or fiftyone; --flagged reads what these export."""
