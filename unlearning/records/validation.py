"""What `validate` prints."""

from __future__ import annotations

from typing import Literal

from unlearning.records.base import Record, Versioned
from unlearning.settings import Count


class Problem(Record):
    """One thing that is wrong."""

    path: str
    """The file or folder, as reached from the folder given."""
    kind: Literal["record", "hash", "disagreement", "path", "weights", "rows", "log", "figure", "foreign", "left over"]
    """`record` (not what its name says), `hash` (made with other configurations), `disagreement` (with the
    files beside it, or with its own numbers), `path`, `weights`, `rows`, `log`, `figure`, `foreign`, or `left over`."""
    message: str
    """What is wrong."""


class ValidationReport(Versioned):
    """What `validate` found."""

    files: Count
    """Files looked at."""
    records: Count
    """JSON records that are valid by themselves."""
    reference_records: Count
    """Among them, results of the published implementation; nothing else is checked of those."""
    logs: Count
    """CSV files that can be read."""
    weights_checked: Count
    """Weight files whose SHA-256 is the recorded one."""
    weights_not_kept: Count
    """Recorded weight files that are not there."""
    unfinished: Count
    """Configurations without results."""
    problems: list[Problem]
    """What is wrong, by path."""
