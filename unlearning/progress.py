"""Progress bars, in one place: shown on a terminal, silent in files, pipes and notebooks' logs."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import Any

from tqdm import tqdm

from unlearning.errors import printable_lines


def progress_bar(items: Sequence[Any] | None = None, *, total: int | None = None, description: str, unit: str) -> Any:
    """Returns a tqdm bar.

    Args:
        items: What to iterate over, or None to update the bar by hand.
        total: Number of updates, where `items` is None.
        description: Text in front of the bar.
        unit: What one update is.

    Returns:
        The bar; setting `TQDM_DISABLE` turns it off everywhere.
    """
    disabled = True if os.environ.get("TQDM_DISABLE") else None  # None: only where standard error is no terminal
    return tqdm(items, total=total, desc=description, unit=unit, leave=False, delay=1, disable=disabled)


class PrintableFormatter(logging.Formatter):
    """Messages that cannot steer a terminal, whatever names of files stand in them."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the message of a record."""
        return printable_lines(super().format(record))
