"""Preconditioned conjugate gradients: one damped system, in the metric of something that is cheap to solve.

    (A + damping I) x = b,   started at zero,   residuals measured by the inverse of M ~ A + damping I

(Hestenes and Stiefel 1952; Golub and Van Loan, Matrix Computations, algorithm 11.5.1.) Where `M` is near the system, a
few products replace the dozens that the plain method needs. It fits one damping only, so that the grid of
`unlearning.influence.conjugate_gradients`, which is free there, costs a solve each here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from unlearning.influence.solutions import dot
from unlearning.task import SolveReport, SolveStatus

Apply = Callable[[tf.Tensor], tf.Tensor]
"""From a vector of shape `(size,)` to another."""


@dataclasses.dataclass(frozen=True)
class PreconditionedGradient:
    """Conjugate gradients with a preconditioner.

    Attributes:
        rtol: Relative residual, in the plain norm, at which to stop.
        max_iterations: Most products to spend, beside the one that measures the residual at the end.
    """

    rtol: float = 1e-3
    max_iterations: int = 20

    def solve(
        self, product: Apply, precondition: Apply, right_hand_side: tf.Tensor, damping: float
    ) -> tuple[tf.Tensor, SolveReport]:
        """Solves one damped system.

        Args:
            product: `A`, symmetric.
            precondition: `M^-1`, symmetric and positive definite.
            right_hand_side: `b`, shape `(size,)`.
            damping: Positive.

        Returns:
            The solution, shape `(size,)`, and a report about its true residual. A direction with `p.(A + damping I) p
            <= 0` ends the loop and keeps the iterate before it.
        """
        dtype = right_hand_side.dtype
        solution, residual = tf.zeros_like(right_hand_side), right_hand_side
        size = float(tf.sqrt(dot(residual, residual)))
        status, products = SolveStatus.MAX_ITERATIONS, 0
        if size == 0:
            return solution, self._report(SolveStatus.ZERO_RIGHT_HAND_SIDE, 0, 0.0, damping, 0)
        turned = precondition(residual)
        direction, rz = turned, float(dot(residual, turned))
        iterations = 0
        while iterations < self.max_iterations:
            image = product(direction) + tf.cast(damping, dtype) * direction
            products += 1
            curvature = float(dot(direction, image))
            if not curvature > 0:  # NaN, too
                finite = curvature == curvature and abs(curvature) != float("inf")
                status = SolveStatus.NEGATIVE_CURVATURE if finite else SolveStatus.NON_FINITE
                break
            length = tf.cast(rz / curvature, dtype)
            solution, residual = solution + length * direction, residual - length * image
            iterations += 1
            if float(tf.sqrt(dot(residual, residual))) <= self.rtol * size:
                status = SolveStatus.CONVERGED
                break
            turned = precondition(residual)
            rz, before = float(dot(residual, turned)), rz
            direction = turned + tf.cast(rz / before, dtype) * direction
        left = right_hand_side - product(solution) - tf.cast(damping, dtype) * solution
        relative = float(tf.sqrt(dot(left, left))) / size
        if not relative < float("inf"):
            status, relative = SolveStatus.NON_FINITE, float("inf")
        elif status is SolveStatus.CONVERGED and relative > self.rtol * (1 + 1e-3):
            status = SolveStatus.STALLED
        return solution, self._report(status, iterations, relative, damping, products + 1)

    def _report(
        self, status: SolveStatus, iterations: int, residual: float, damping: float, products: int
    ) -> SolveReport:
        negative = status is SolveStatus.NEGATIVE_CURVATURE
        return SolveReport("kronecker-cg", status, iterations, residual, damping, None, negative, products)
