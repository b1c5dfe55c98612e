"""What a kind of noise is, and what it may look at."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np

from unlearning.errors import InputError
from unlearning.noise.corruption import Corruption
from unlearning.settings import Settings
from unlearning.task import Split


@dataclasses.dataclass(frozen=True, eq=False)
class Rows:
    """What noise may look at in one part of the data.

    Attributes:
        split: Images and true labels.
        num_classes: Number of classes `K`.
        data_name: Name of the image set, for noise that knows some sets.
        ids: Example ids of the rows (str), where the set has them.
        pixel_max: Largest pixel value; None: as the images show it.
        fine_labels: int array `(rows,)`: the fine class behind each label, where the set has them.
    """

    split: Split
    num_classes: int
    data_name: str = ""
    ids: np.ndarray | None = None
    pixel_max: float | None = None
    fine_labels: np.ndarray | None = None

    def __post_init__(self) -> None:
        labels, classes = self.split.labels, self.num_classes
        if classes < 2:
            raise InputError("num_classes", "at least 2, as a wrong label is another class", classes)
        if len(labels) and not 0 <= labels.min() <= labels.max() < classes:
            raise InputError("labels", f"classes 0..{classes - 1}", f"{labels.min()}..{labels.max()}")
        if self.ids is not None and len(self.ids) != len(labels):
            raise InputError("ids", f"one id per row ({len(labels)})", len(self.ids))

    def __len__(self) -> int:
        return len(self.split)


class Noise(Settings):
    """A kind of noise with its inputs, which are its fields."""

    needs_budget: ClassVar[bool] = True
    """Whether somebody must say how many rows go wrong; a file of labels says so itself."""

    def corrupt(self, rows: Rows, budget: int, seed: int) -> Corruption:
        """Corrupts rows.

        Args:
            rows: Images and true labels; not changed.
            budget: Number of rows to corrupt (or to draw, where drawn rows may keep their label); without meaning
                where no budget is needed.
            seed: Seed of the choice of rows and labels.

        Returns:
            The corruption; its true labels are the labels of the rows.

        Raises:
            InputError: If the budget cannot be met, or something that the kind needs is missing.
        """
        check_seed(seed)
        if self.needs_budget and not (isinstance(budget, int | np.integer) and 1 <= budget <= len(rows)):
            raise InputError("budget", f"an integer in 1..{len(rows)}, the number of rows", budget)
        return self.draw(rows, budget, seed)

    def draw(self, rows: Rows, budget: int, seed: int) -> Corruption:
        """Does what `corrupt` promises, once budget and seed are known to make sense. This is what a kind writes."""
        raise NotImplementedError(f"{type(self).__name__} has neither draw nor corrupt")

    def alike(self, corruption: Corruption, train: Rows, other: Rows, seed: int) -> Corruption:
        """Corrupts other rows by the same process and at the same rate.

        Passes on an `InputError` if there are too few rows of the classes to corrupt.

        Args:
            corruption: What happened to the training rows.
            train: The training rows.
            other: The other rows.
            seed: Seed; use another one than the training rows'.

        Returns:
            The corruption of the other rows; of none where their share is below one.
        """
        check_seed(seed)
        budget = self.budget_alike(corruption, other)
        if budget < 1:
            return Corruption(corruption.kind, seed, other.split.labels.copy(), other.split.labels.copy())
        return self.corrupt(other, budget, seed)

    def budget_alike(self, corruption: Corruption, other: Rows) -> int:
        """Returns the budget that gives other rows the rate of a corruption."""
        return round(corruption.rate * len(other))

    def recorded(self) -> dict[str, Any]:
        """Returns what a configuration file holds besides kind, budget and seed: nothing for inputs left alone."""
        config = self.config()
        fields = type(self).model_fields.items()
        kept = {
            name
            for name, field in fields
            if name in config and getattr(self, name) != field.get_default(call_default_factory=True)
        }
        return {"options": {name: config[name] for name in config if name in kept}} if kept else {}


def check_seed(seed: int) -> None:
    """Raises `InputError` if a number cannot seed NumPy's generators."""
    if not 0 <= seed < 2**32:
        raise InputError("seed", "an integer in 0..2**32-1", seed)
