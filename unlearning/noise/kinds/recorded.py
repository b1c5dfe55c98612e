"""Given labels from a list; see `unlearning.noise.recorded` for its form."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from unlearning.errors import InputError
from unlearning.noise.base import Rows
from unlearning.noise.corruption import Corruption
from unlearning.noise.kinds.from_file import FromFile
from unlearning.noise.recorded import example_numbers, is_whole, labels_sha256, read_labels

logger = logging.getLogger(__name__)


class Recorded(FromFile):
    """Takes the given labels from a JSON list.

    The list has one label for every row. It may also be longer, for a set of which the rows are a part: then rows are
    found in it by the numbers in their example ids.
    """

    labels_file: str | None = None
    """The labels: a JSON list of integers."""

    def draw(self, rows: Rows, budget: int, seed: int) -> Corruption:
        """Looks the labels up."""
        labels, total = read_labels(self.labels_file), len(rows)
        numbers = example_numbers(rows.ids)
        if len(labels) == total:
            given = labels[numbers] if numbers is not None and is_whole(numbers) else labels
        elif len(labels) < total or numbers is None:
            reason = "" if len(labels) < total else "; a longer list needs rows with example ids train_<number>"
            expected = f"one label for each of the {total} training rows{reason}"
            raise InputError("labels_file", expected, f"{len(labels)} labels")
        elif numbers.max() >= len(labels):
            raise InputError("labels_file", f"a label for example train_{numbers.max():05d}", f"{len(labels)} labels")
        else:
            given = labels[numbers]
        if labels.max() >= rows.num_classes:
            raise InputError("labels_file", f"labels 0..{rows.num_classes - 1}", int(labels.max()))
        true = rows.split.labels
        wrong = np.count_nonzero(given != true)
        if not wrong:
            raise InputError("labels_file", "labels of which some differ from the true ones", "none that differs")
        if total - wrong <= 1.1 * total / rows.num_classes:
            logger.warning(
                "Only %d of %d recorded labels are right: are they in the order of the rows?", total - wrong, total
            )
        return Corruption("recorded", seed, given, true)

    def recorded(self) -> dict[str, Any]:
        """Returns the hash of the labels; the file's path stays out of records."""
        return {"labels_sha256": labels_sha256(read_labels(self.labels_file))}
