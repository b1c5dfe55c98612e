"""What the solvers share: products, solutions, and the inner product in double precision."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from unlearning.task import SolveReport

Product = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
"""A graph function of `(parameters, vector)`, both of shape `(size,)`, returning `A(parameters) @ vector`."""


@dataclasses.dataclass(frozen=True, eq=False)
class Solution:
    """Solutions of one right-hand side for several dampings.

    Attributes:
        vectors: Tensor of shape `(dampings, size)`.
        reports: One report a damping; the shared products are counted in the first one only, so that sums are true.
        log: One mapping an iteration.
    """

    vectors: tf.Tensor
    reports: Sequence[SolveReport]
    log: Sequence[dict[str, float]]


def dot(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Returns the inner product of two vectors, summed in float64."""
    return tf.reduce_sum(tf.cast(a, tf.float64) * tf.cast(b, tf.float64))


def residuals_of(product: Product) -> Callable[[tf.Tensor, tf.Tensor, tf.Tensor, Sequence[float]], np.ndarray]:
    """Compiles what says how good solutions are.

    Args:
        product: The undamped curvature as a graph function.

    Returns:
        A function of `parameters` `(size,)`, `right_hand_side` `(size,)`, `vectors` `(dampings, size)` and `dampings`;
        it returns `||b - (A + damping I) x|| / ||b||` of each, float64 of shape `(dampings,)`, with one product each.
        What is not a number counts as infinite; a right-hand side of zero has no residual.
    """

    @tf.function(reduce_retracing=True, autograph=False)
    def measure(parameters: tf.Tensor, rhs: tf.Tensor, vector: tf.Tensor, damping: tf.Tensor) -> tf.Tensor:
        image = tf.cast(product(parameters, vector), tf.float64) + damping * tf.cast(vector, tf.float64)
        rest = tf.cast(rhs, tf.float64) - image
        return tf.sqrt(dot(rest, rest) / dot(rhs, rhs))

    def measure_all(parameters: tf.Tensor, rhs: tf.Tensor, vectors: tf.Tensor, dampings: Sequence[float]) -> np.ndarray:
        pairs = zip(tf.unstack(vectors), dampings, strict=True)
        found = [float(measure(parameters, rhs, x, tf.constant(d, tf.float64))) for x, d in pairs]
        return np.nan_to_num(found, nan=np.inf)

    return measure_all
