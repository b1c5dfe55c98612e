"""Given labels from a list that another program wrote."""

from __future__ import annotations

import logging
from typing import Any, ClassVar

import numpy as np

from unlearning.errors import invalid
from unlearning.noise.base import Noise, Rows, from_transitions
from unlearning.noise.corruption import Corruption
from unlearning.noise.recorded import example_numbers, is_whole, labels_sha256, read_labels
from unlearning.settings import PathText

logger = logging.getLogger(__name__)


class Recorded(Noise):
    """Takes the given labels from a JSON list (`labels_file`).

    The list has one label for every row. It may also be longer, for a set of which the rows are a part: then rows are
    found in it by the numbers in their example ids.
    """

    needs_budget: ClassVar[bool] = False

    labels_file: PathText | None = None
    """A JSON list of integers."""

    def alike(self, corruption: Corruption, train: Rows, other: Rows, seed: int) -> Corruption:
        """See `Noise.alike`; there are no such labels for other rows."""
        return from_transitions(corruption, other, seed)

    def recorded(self) -> dict[str, Any]:
        """See `Noise.recorded`: the hash of the labels, however their file is formatted."""
        return {"labels_sha256": labels_sha256(read_labels(self.labels_file))}

    def _draw(self, rows: Rows, budget: int, seed: int) -> Corruption:
        labels, count = read_labels(self.labels_file), len(rows)
        numbers = example_numbers(rows.ids)
        if len(labels) == count:
            given = labels[numbers] if numbers is not None and is_whole(numbers) else labels
        elif len(labels) < count or numbers is None:
            reason = "" if len(labels) < count else "; a longer list needs rows with example ids train_<number>"
            expected = f"one label for each of the {count} training rows{reason}"
            raise invalid("labels_file", expected, f"{len(labels)} labels")
        elif numbers.max() >= len(labels):
            raise invalid("labels_file", f"a label for example train_{numbers.max():05d}", f"{len(labels)} labels")
        else:
            given = labels[numbers]
        if labels.max() >= rows.num_classes:
            raise invalid("labels_file", f"labels 0..{rows.num_classes - 1}", int(labels.max()))
        true = rows.split.labels
        wrong = np.count_nonzero(given != true)
        if not wrong:
            raise invalid("labels_file", "labels of which some differ from the true ones", "none that differs")
        if count - wrong <= 1.1 * count / rows.num_classes:
            logger.warning(
                "Only %d of %d recorded labels are right: are they in the order of the rows?", count - wrong, count
            )
        return Corruption("recorded", seed, given, true)
