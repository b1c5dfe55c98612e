"""Trusted rows: those whose given label the model finds easiest, or a random draw. True labels play no part.

Wrong labels are learned late and leave a higher loss, so that among the rows of lowest loss few are wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from unlearning.errors import InputError
from unlearning.projection.settings import Selection
from unlearning.streams import stream
from unlearning.task import Split, WorkCount

if TYPE_CHECKING:
    import keras


def cross_entropy(model: keras.Model, split: Split) -> np.ndarray:
    """Returns the cross-entropy of every row under its given label, float64 of shape `(rows,)`."""
    from unlearning.evaluation import label_loss, predict_probabilities

    return label_loss(predict_probabilities(model, split.images), split.labels)


def select_trusted(
    model: keras.Model,
    split: Split,
    *,
    count: int = 1000,
    by: Selection = "loss",
    balanced: bool = True,
    num_classes: int,
    candidates: int | None = None,
    seed: int = 0,
) -> tuple[np.ndarray, WorkCount]:
    """Chooses trusted rows.

    Args:
        model: The trained model.
        split: Training rows with their given labels.
        count: How many; all rows where there are fewer.
        by: `"loss"` (lowest cross-entropy), `"curvature"` (flattest loss), or `"random"`.
        balanced: Take the same number of every given class, as far as it has rows.
        num_classes: Number of classes.
        candidates: Score only a random draw of this many rows (at least `count`); None for all.
        seed: Seed of what is random.

    Returns:
        Sorted int64 row numbers, and the work spent on scoring.

    Raises:
        InputError: If nothing can be chosen.
    """
    if count < 1:
        raise InputError("trusted_count", "a positive integer", count)
    if candidates is not None and candidates < count:
        raise InputError("candidates", f"at least trusted_count ({count}), or null for all rows", candidates)
    if not len(split):
        raise InputError("train", "at least one row", "an empty split")
    rng = stream(seed, "method", "trusted rows")
    pool = np.arange(len(split))
    if candidates is not None and candidates < len(pool):
        pool = np.sort(rng.choice(pool, candidates, replace=False))
    rows = split.subset(pool) if len(pool) < len(split) else split
    if by == "loss":
        scores, work = cross_entropy(model, rows), WorkCount(forward_rows=len(pool))
    elif by == "curvature":
        from unlearning.influence.pixels import DRAWS, curvature

        scores, work = curvature(model, rows, seed=seed), WorkCount(gradient_rows=len(pool) * (1 + DRAWS))
    elif by == "random":
        scores, work = rng.random(len(pool)), WorkCount()
    else:
        raise InputError("selection", "loss, random or curvature", by)
    order = np.argsort(scores, kind="stable")  # ties go to the earlier row
    if balanced:
        # The n-th best of every class comes before the (n+1)-th best of any.
        labels = rows.labels[order]
        place = np.empty(len(order), dtype=np.int64)
        for label in range(num_classes):
            of_class = labels == label
            place[of_class] = np.arange(np.count_nonzero(of_class))
        order = order[np.argsort(place, kind="stable")]
    return np.sort(pool[order[:count]]).astype(np.int64), work
