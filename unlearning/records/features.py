"""Where rows lie in feature space."""

from __future__ import annotations

from typing import Literal

from unlearning.records.base import Record, Versioned
from unlearning.records.trainings import Environment
from unlearning.settings import Classes, Count, NonNegative, Seed, Sha256


class AngleGroup(Record):
    """Angles of one group of rows, in degrees; None without rows."""

    rows: Count
    """Number of rows."""
    mean: float | None
    """Mean angle over the rows, in degrees."""
    std: NonNegative | None
    """Standard deviation over the rows (divisor `rows`), in degrees."""


class FeatureResults(Versioned):
    """Where rows lie in feature space before and after a repair; see `unlearning.drawing.features`."""

    method: str
    """Registered name."""
    variant: str
    """Text that tells runs of one method apart."""
    budget: Count
    """Requested number of corrupted rows."""
    seed: Seed
    """Seed of the cell."""
    num_classes: Classes
    """Number of classes."""
    features: Count
    """Length of a feature vector."""
    rows: Count
    """Training rows."""
    forget_rows: Count
    """Those of them that were to be forgotten."""
    forget_source: Literal["method", "corruption"]
    """`method`, if its record names them, or `corruption`, the rows that are truly bad."""
    tsne_rows: Count
    """Rows drawn for the t-SNE figure."""
    angles: dict[str, dict[str, AngleGroup]]
    """Under `before` and `after`, for `retain` and `forget` rows: the angle between a row's features and the
    centroid of its given label, which is made of the retain rows before the repair."""
    poisoned_sha256: Sha256
    """Hash of the weights before."""
    repaired_sha256: Sha256
    """Hash of the weights after."""
    environment: Environment
    """Versions and device."""
