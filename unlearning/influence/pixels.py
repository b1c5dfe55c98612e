"""How fast a row's loss turns with its image: rows that a model has memorised lie in sharp places."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from unlearning.interop import as_logit_model, gives_probabilities, inference_arguments, read_logits
from unlearning.streams import stream
from unlearning.task import Split

DRAWS = 10
"""Random directions a row."""
_STEP = 2.5e-4  # of the pixel range; the published 1e-3 is in units of one standard deviation of the pixels


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
    work = as_logit_model(model)
    closed = gives_probabilities(work, np.asarray(split.images[:8]))  # a softmax out of reach stays
    step = _STEP * float(max(np.max(split.images[:256]), 1))

    @tf.function(reduce_retracing=True, autograph=False)
    def gradient(images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(images)
            logits = read_logits(work(images, **inference_arguments(work)), closed)
            loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        return tape.gradient(loss, images)  # of the sum over rows: each row's own gradient

    rng = stream(seed, "method", "pixels")
    scores = np.zeros(len(split))
    for start in range(0, len(split), batch_size):
        images = np.asarray(split.images[start : start + batch_size], dtype=np.float32)
        labels = split.labels[start : start + batch_size]
        here = gradient(tf.constant(images), tf.constant(labels))
        for _ in range(DRAWS):
            signs = rng.choice(np.array([-1, 1], dtype=np.float32), images.shape)
            turned = gradient(tf.constant(images + step * signs), tf.constant(labels)) - here
            scores[start : start + batch_size] += np.linalg.norm(np.asarray(turned).reshape(len(images), -1), axis=1)
    return scores / DRAWS
