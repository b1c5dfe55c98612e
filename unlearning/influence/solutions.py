"""What the solvers share: products, solutions, and the inner product in double precision."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

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
