"""Trusted rows: those whose given label the model finds easiest, or a random draw. True labels play no part.

Wrong labels are learned late and leave a higher loss, so that among the rows of lowest loss few are wrong.
"""

from __future__ import annotations

from typing import Literal

import keras
import numpy as np

from unlearning.errors import invalid
from unlearning.evaluation import label_loss, predict, probabilities
from unlearning.interop import as_logit_model, inference_arguments, outputs_probabilities
from unlearning.task import Split, WorkCount

Selection = Literal["loss", "random", "curvature"]
_CURVATURE_DRAWS = 10
_CURVATURE_STEP = 2.5e-4  # of the pixel range; the published 1e-3 is in units of one standard deviation of the pixels


def cross_entropy(model: keras.Model, split: Split) -> np.ndarray:
    """Returns the cross-entropy of every row under its given label, float64 of shape `(rows,)`."""
    return label_loss(probabilities(predict(model, split.images)), split.labels)


def curvature(model: keras.Model, split: Split, *, seed: int = 0, batch_size: int = 256) -> np.ndarray:
    """Returns how fast the loss gradient with respect to the pixels turns, per row.

    The mean over random sign vectors `v` of `|grad l(x + h v) - grad l(x)|`, the score of the published code (there
    divided by the size of the batch, which ranks the rows of a short last batch too high; here per row).

    Args:
        model: A classifier.
        split: Rows with their given labels.
        seed: Seed of the sign vectors.
        batch_size: Rows a pass.

    Returns:
        float64 array of shape `(rows,)`.
    """
    import tensorflow as tf

    work = as_logit_model(model)
    # A softmax out of reach, in a nested or subclassed model, stays.
    takes_log = outputs_probabilities(np.asarray(work(np.asarray(split.images[:8]), **inference_arguments(work))))
    step = _CURVATURE_STEP * float(max(np.max(split.images[:256]), 1))

    @tf.function(reduce_retracing=True)
    def gradient(images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(images)
            scores = work(images, **inference_arguments(work))
            logits = tf.math.log(scores + np.finfo(np.float32).tiny) if takes_log else scores
            loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        return tape.gradient(loss, images)  # of the sum over rows: each row's own gradient

    rng = np.random.default_rng(seed)
    scores = np.zeros(len(split))
    for start in range(0, len(split), batch_size):
        images = np.asarray(split.images[start : start + batch_size], dtype=np.float32)
        labels = split.labels[start : start + batch_size]
        here = gradient(tf.constant(images), tf.constant(labels))
        for _ in range(_CURVATURE_DRAWS):
            signs = rng.choice(np.array([-1, 1], dtype=np.float32), images.shape)
            turned = gradient(tf.constant(images + step * signs), tf.constant(labels)) - here
            scores[start : start + batch_size] += np.linalg.norm(np.asarray(turned).reshape(len(images), -1), axis=1)
    return scores / _CURVATURE_DRAWS


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
        raise invalid("trusted_count", "a positive integer", count)
    if candidates is not None and candidates < count:
        raise invalid("candidates", f"at least trusted_count ({count}), or null for all rows", candidates)
    if not len(split):
        raise invalid("train", "at least one row", "an empty split")
    rng = np.random.default_rng(seed)
    pool = np.arange(len(split))
    if candidates is not None and candidates < len(pool):
        pool = np.sort(rng.choice(pool, candidates, replace=False))
    rows = split.subset(pool) if len(pool) < len(split) else split
    if by == "loss":
        scores, work = cross_entropy(model, rows), WorkCount(forward_rows=len(pool))
    elif by == "curvature":
        scores = curvature(model, rows, seed=seed)
        work = WorkCount(gradient_rows=len(pool) * (1 + _CURVATURE_DRAWS))
    elif by == "random":
        scores, work = rng.random(len(pool)), WorkCount()
    else:
        raise invalid("selection", "loss, random or curvature", by)
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
