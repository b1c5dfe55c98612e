"""What a detector found."""

from __future__ import annotations

from typing import Annotated, Any

from annotated_types import Ge, Le

from unlearning.records.audits import AuditResults
from unlearning.records.base import Record, Versioned
from unlearning.records.trainings import Environment
from unlearning.settings import Classes, Count, Seconds, Seed, Sha256, Share, since


class DetectionMetrics(Record):
    """A detection against the rows that are truly bad; see `unlearning.detection.metrics`. All are fractions."""

    precision: Share
    """Share of the suspects that are bad."""
    recall: Share
    """Share of the bad rows that are suspect."""
    f1: Share
    """Harmonic mean of the two."""
    auroc: Share | None
    """Area under the receiver operating characteristic of the scores, or None where it is undefined."""
    average_precision: Annotated[float, Ge(0), Le(1 + 1e-9)] | None  # a sum of shares: rounding may exceed one
    """Area under the precision-recall curve of the scores, or None where it is undefined."""


class DetectionResults(Versioned):
    """What `detect` found among the training rows of a model."""

    detector: str
    """Registered name."""
    options: dict[str, Any]
    """Its options."""
    rows: Count
    """Training rows."""
    num_classes: Classes
    """Number of classes."""
    suspects: Count
    """Rows called suspect."""
    suspect_share: Share
    """The same as a fraction of the rows."""
    suggestions_changed: Count
    """Suspects whose suggested label differs from the given one."""
    threshold: float | None
    """The score that divides, or None where no single number does."""
    status: str
    """`ok`, or why the suspects deserve no trust."""
    details: dict[str, Any] = {}
    """What the detector adds, such as the parameters of a mixture."""
    class_names: list[str] | None = None
    """Names of the classes, where the data have any; None in files from before they were kept."""
    metrics: DetectionMetrics | None
    """Scores against the known bad rows, or None where they are not known."""
    bad_rows: Count | None
    """Number of known bad rows, or None."""
    seed: Seed
    """Seed of what the detector draws."""
    detection_duration_s: Seconds
    """Wall-clock seconds."""
    detection_cpu_s: Seconds | None = None
    """Processor seconds; None in files from before they were measured."""
    config_hash: Sha256 | None = None
    """Of what a cell's detection was made from; None outside of cells."""
    audit: Annotated[AuditResults | None, since("0.2", before=None)] = None
    """What a person's answers say of it, or None; the suspects are then those above the cut that they speak for."""
    environment: Environment
    """Versions and device."""
    command: Annotated[list[str] | None, since("0.2", before=None)] = None
    """The words of the command that was given, names of files in place of their paths; None where it was none, in
    cells, and in older files."""
