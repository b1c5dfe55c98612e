"""Why a cell of a grid is unfinished."""

from __future__ import annotations

from pydantic import Field

from unlearning.records.base import Record, Versioned
from unlearning.records.trainings import Environment
from unlearning.settings import Count, Seed


class FailedStage(Record):
    """One thing that went wrong in a cell."""

    stage: str
    """`training`, the folder name of a method, or `worker` where the whole process ended."""
    error_type: str
    """Name of the exception's class."""
    message: str
    """Its text."""
    traceback: list[str] = []
    """The innermost frames, outermost first, as `file:line in function`."""


class CellFailure(Versioned):
    """Why a cell of a grid is unfinished; a later successful run removes the file."""

    budget: Count
    """The cell's budget."""
    seed: Seed
    """The cell's seed."""
    failures: list[FailedStage] = Field(min_length=1)
    """What went wrong, in order; methods that are not named here are done."""
    failed_at: str
    """When, as ISO 8601 in UTC."""
    environment: Environment
    """Versions and device."""
