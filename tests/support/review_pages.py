"""Suspects to look at, without a detector."""

from __future__ import annotations

import numpy as np

from unlearning.detection.base import Detection, DetectionStatus
from unlearning.review.sheet import Rows, Sheet
from unlearning.task import Split

HOSTILE = ('</script><img src=x onerror="window.pwned=1">', '"quoted", name.png', "a\nb.png", "\u202egpj.exe")
"""Names of files, of the first suspects."""


def suspects(
    count: int = 60,
    *,
    classes: tuple[str, ...] = ("cat", "dog", "</script><b>owl</b>"),
    images: np.ndarray | None = None,
    files: bool = False,
    texts: bool = False,
    extra: int = 20,
) -> Sheet:
    """Rows of which the first are suspect, worst first; the 6th has no other suggestion.

    Args:
        count: Suspects.
        classes: Names of the classes.
        images: The rows; small random pictures by default.
        files: Whether they are files, the first of hostile names.
        texts: Whether they have texts.
        extra: Rows that are not suspect.

    Returns:
        What the page shows of them.
    """
    total = count + extra
    if images is None:
        images = np.random.default_rng(0).integers(0, 256, (total, 8, 8, 3)).astype(np.uint8)
    given = np.arange(total) % len(classes)
    suggested = (given + 1 + np.arange(total) // len(classes) % 2) % len(classes)
    suggested[5] = given[5]
    names = [HOSTILE[row] if row < len(HOSTILE) else f"folder/{row}.png" for row in range(total)] if files else None
    words = [f"<i>text</i> of row {row} " * (1 + row % 40) for row in range(total)] if texts else None
    found = Detection(np.arange(total, 0, -1) / 7, np.arange(count), suggested, (extra + 0.5) / 7, DetectionStatus.OK)
    return Sheet.of_suspects(Rows(Split(images, given), len(classes), classes, names, words), found)
