"""What a person is asked about: rows with their given and suggested labels, and whatever can be shown of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np

from unlearning.detection.base import Detection
from unlearning.errors import InputError
from unlearning.review.sampling import Sample
from unlearning.task import Split

Mode = Literal["suspects", "audit"]


@dataclasses.dataclass(frozen=True, eq=False)
class Rows:
    """Training rows, with all that is known about how they look.

    Attributes:
        split: The rows with their given labels.
        num_classes: Number of classes `K`.
        class_names: Names of the classes, or None.
        files: Names of the rows' image files, as tables have them, or None.
        texts: A text of each row, or None.
    """

    split: Split
    num_classes: int
    class_names: Sequence[str] | None = None
    files: Sequence[str] | None = None
    texts: Sequence[str] | None = None

    def __post_init__(self) -> None:
        for name, values, count in (
            ("class_names", self.class_names, self.num_classes),
            ("files", self.files, len(self.split)),
            ("texts", self.texts, len(self.split)),
        ):
            if values is not None and len(values) != count:
                raise InputError(name, f"one entry each ({count})", f"{len(values)} entries")

    def names(self) -> list[str]:
        """Returns what the classes are called; their numbers where they have no names."""
        return [str(name) for name in self.class_names or range(self.num_classes)]


@dataclasses.dataclass(frozen=True, eq=False)
class Sheet:
    """Rows that a person is asked about, in the order in which they are shown.

    Attributes:
        source: All training rows.
        rows: int64 `(shown,)`: the numbers of those that are shown.
        suggested: int64 `(shown,)`: their suggested labels; the given one where there is no other.
        scores: float64 `(shown,)`: how suspicious they are.
        suspect: boolean `(shown,)`.
        mode: Whether suspects are looked through, worst first, or a sample is asked about.
    """

    source: Rows
    rows: np.ndarray
    suggested: np.ndarray
    scores: np.ndarray
    suspect: np.ndarray
    mode: Mode = "suspects"

    @property
    def given(self) -> np.ndarray:
        """The given labels, int64 `(shown,)`."""
        return self.source.split.labels[self.rows]

    @classmethod
    def of_suspects(cls, source: Rows, found: Detection) -> Sheet:
        """Returns the suspects, worst first."""
        order = found.suspects[np.argsort(-found.scores[found.suspects], kind="stable")]
        return cls(source, order, found.suggested_labels[order], found.scores[order], np.ones(len(order), dtype=bool))

    @classmethod
    def of_sample(cls, source: Rows, found: Detection, sample: Sample) -> Sheet:
        """Returns the rows of an audit, in the order of the sample."""
        rows = sample.rows
        return cls(
            source, rows, found.suggested_labels[rows], found.scores[rows], sample.suspect[sample.strata], "audit"
        )
