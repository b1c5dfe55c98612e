"""What every kind of noise is: frozen settings (its own inputs) with one verb, and the same noise on other rows.

Noise looks at true labels, so it belongs to experiments; nothing that repairs a model imports it.
"""

from __future__ import annotations

import abc
import dataclasses
from typing import Any, ClassVar, final

import numpy as np

from unlearning.errors import invalid
from unlearning.noise.corruption import Corruption
from unlearning.settings import Settings
from unlearning.task import Split


@dataclasses.dataclass(frozen=True, eq=False)
class Rows:
    """What noise may look at.

    Attributes:
        split: Images and true labels; not changed.
        num_classes: Number of classes `K`.
        data_name: Name of the image set.
        ids: Example ids of the rows, array of str `(rows,)`, where the set has them.
        pixel_max: Largest pixel value.
        fine_labels: int array `(rows,)`: the finer class behind each label, where the set has them.
    """

    split: Split
    num_classes: int
    data_name: str = ""
    ids: np.ndarray | None = None
    pixel_max: float = 255.0
    fine_labels: np.ndarray | None = None

    def __post_init__(self) -> None:
        labels, classes = self.split.labels, self.num_classes
        if classes < 2:
            raise invalid("num_classes", "at least 2, as a wrong label is another class", classes)
        if len(labels) and not 0 <= labels.min() <= labels.max() < classes:
            raise invalid("labels", f"classes 0..{classes - 1}", f"{labels.min()}..{labels.max()}")
        if self.ids is not None and len(self.ids) != len(labels):
            raise invalid("ids", f"one id per row ({len(labels)})", len(self.ids))

    def __len__(self) -> int:
        return len(self.split)


class Noise(Settings, abc.ABC):
    """A way for labels (or images) to go wrong; the fields are inputs of its own."""

    needs_budget: ClassVar[bool] = True
    """Whether somebody must say how many rows go wrong; otherwise a file says so."""

    @final
    def corrupt(self, rows: Rows, budget: int | None, seed: int) -> Corruption:
        """Corrupts rows.

        Args:
            rows: The rows.
            budget: Number of rows to corrupt; None or 0 where a file decides.
            seed: Seed of the choice of rows and labels.

        Returns:
            The corruption; its true labels are the rows' labels.

        Raises:
            InputError: If the budget cannot be met, or something the kind needs is missing.
        """
        if not 0 <= seed < 2**32:
            raise invalid("seed", "an integer in 0..2**32-1", seed)
        if not self.needs_budget:
            if budget:
                raise invalid("budget", "none (the labels file decides)", budget)
            return self._draw(rows, 0, seed)
        if not isinstance(budget, int | np.integer) or not 1 <= budget <= len(rows):
            raise invalid("budget", f"an integer in 1..{len(rows)}, the number of rows", budget)
        return self._draw(rows, int(budget), seed)

    @abc.abstractmethod
    def _draw(self, rows: Rows, budget: int, seed: int) -> Corruption:
        """Does the work of `corrupt` on checked arguments."""

    def alike(self, corruption: Corruption, train: Rows, other: Rows, seed: int) -> Corruption:
        """Corrupts other rows by the same process and at the same rate.

        This is what makes a validation split honest: a user whose training labels are wrong has validation labels that
        are wrong in the same way.

        Args:
            corruption: What happened to the training rows.
            train: The training rows.
            other: The other rows.
            seed: Seed; use another one than the training rows'.

        Returns:
            The corruption of the other rows; none of them is bad where the rate leaves less than one.

        Raises:
            InputError: If there are too few rows of the classes to corrupt.
        """
        budget = self._alike_budget(corruption, other)
        if budget < 1:
            labels = other.split.labels
            return Corruption(corruption.kind, seed, labels.copy(), labels.copy())
        return self.corrupt(other, budget, seed)

    def _alike_budget(self, corruption: Corruption, other: Rows) -> int:
        """How many of other rows go wrong at the same rate."""
        if corruption.drawn is not None:
            return round(corruption.drawn * len(other) / len(corruption.true_labels))
        return round(corruption.rate * len(other))

    def recorded(self) -> dict[str, Any]:
        """Returns what `poison_config.json` holds of the kind's own inputs: those that are not as usual."""
        changed = {name: value for name, value in self.config().items() if value != self._usual(name)}
        return {"options": changed} if changed else {}

    def _usual(self, name: str) -> Any:
        return type(self).model_fields[name].get_default(call_default_factory=True)


def from_transitions(corruption: Corruption, other: Rows, seed: int) -> Corruption:
    """Draws labels for other rows from the class transition matrix of a corruption.

    Human annotations and recorded labels exist for the training rows only; this is their noise elsewhere.

    Args:
        corruption: What happened to the training rows.
        other: The other rows.
        seed: Seed of the draw.
    """
    classes, labels = other.num_classes, other.split.labels
    counts = np.zeros((classes, classes))
    np.add.at(counts, (corruption.true_labels, corruption.given_labels), 1)
    counts[counts.sum(axis=1) == 0] = np.eye(classes)[counts.sum(axis=1) == 0]
    cumulative = np.cumsum(counts / counts.sum(axis=1, keepdims=True), axis=1)
    draws = np.random.default_rng(seed).random((len(labels), 1)) * cumulative[labels][:, -1:]
    given = (draws >= cumulative[labels]).sum(axis=1)
    return Corruption(corruption.kind, seed, given, labels)
