"""Conjugate gradients for a whole grid of dampings at the price of one."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from unlearning.errors import InputError
from unlearning.influence.solutions import Product, Solution, dot, residuals_of
from unlearning.task import SolveReport, SolveStatus


class _Stop(enum.IntEnum):
    RUNNING = 0
    CONVERGED = 1
    NEGATIVE_CURVATURE = 2
    NON_FINITE = 3


_STATUS = {
    _Stop.RUNNING: SolveStatus.MAX_ITERATIONS,
    _Stop.CONVERGED: SolveStatus.CONVERGED,
    _Stop.NEGATIVE_CURVATURE: SolveStatus.NEGATIVE_CURVATURE,
    _Stop.NON_FINITE: SolveStatus.NON_FINITE,
}


_TROUBLE = (_Stop.NEGATIVE_CURVATURE, _Stop.NON_FINITE)  # found by a product more than there are iterations
_SLACK = 1e-3  # relative; where the recurrences are as good as the product, rounding decides between the two


@dataclasses.dataclass(frozen=True)
class ConjugateGradient:
    """Conjugate gradients for a whole grid of dampings at the price of one.

    A shift of the diagonal leaves the Krylov space of `(A, b)` unchanged, so the residuals of all damped systems are
    parallel and the solutions for every damping follow from the products made for the smallest one (Jegerlehner,
    hep-lat/9612014; Frommer and Maass, SIAM J. Sci. Comput. 20, 1999). Where this differs from the textbook routine:

    1. The system with the smallest damping drives the iteration; the others are carried by scalar recurrences.
    2. Inner products are accumulated in float64: float32 loses the small residuals of a million-entry vector.
    3. A damped system that has converged is frozen, since its recurrences would divide by vanishing numbers.
    4. The recurrences run ahead of rounding: their residuals fall on after those of the solutions have stopped. So at
       the end every residual is computed from its solution, for one product each; the report and its status are
       about these, and the log is about the recurrences.
    5. A direction with `p.(A + damping I) p <= 0` ends the loop and keeps the iterate before it.

    Attributes:
        rtol: Relative residual of the smallest damping at which to stop.
        max_iterations: Most products to spend.
    """

    rtol: float = 1e-3
    max_iterations: int = 20

    def __post_init__(self) -> None:
        if not 0 < self.rtol < 1:
            raise InputError("rtol", "a float in (0, 1)", self.rtol)
        if self.max_iterations < 1:
            raise InputError("max_iterations", "a positive integer", self.max_iterations)

    def bind(self, product: Product) -> Callable[..., Solution]:
        """Compiles the loop around a product.

        Args:
            product: The undamped curvature as a graph function.

        Returns:
            A function of `parameters` `(size,)`, `right_hand_side` `(size,)`, `dampings` (a sequence of distinct
            non-negative floats) and, for the reports only, `lambda_max` and `extra_matvecs`; it returns a `Solution`
            with the dampings in the order given.
        """
        run = tf.function(
            lambda parameters, rhs, dampings: self._run(product, parameters, rhs, dampings), autograph=False
        )
        measure = residuals_of(product)

        def solve(
            parameters: tf.Tensor,
            right_hand_side: tf.Tensor,
            dampings: Sequence[float],
            *,
            lambda_max: float | None = None,
            extra_matvecs: int = 0,
        ) -> Solution:
            if not dampings or min(dampings) < 0 or len(set(dampings)) != len(dampings):
                raise InputError("dampings", "distinct non-negative floats", list(dampings))
            order = np.argsort(dampings)
            ascending = np.asarray(dampings, dtype=np.float64)[order]
            vectors, iterations, stop, history = run(parameters, right_hand_side, tf.constant(ascending))
            iterations, stop = int(iterations), _Stop(int(stop))
            residuals = history.numpy()[: iterations + 1]  # row k: relative residuals after k iterations
            norm = float(tf.norm(tf.cast(right_hand_side, tf.float64)))
            back = np.argsort(order)
            vectors = tf.gather(vectors, back)
            measured = iterations > 0  # the start is zero, whose residual needs no product
            found = measure(parameters, right_hand_side, vectors, dampings) if measured else np.ones(len(dampings))
            reports = []
            for position, damping in enumerate(dampings):
                residual, status = float(found[position]), _STATUS[stop]
                if status in (SolveStatus.CONVERGED, SolveStatus.MAX_ITERATIONS):
                    finished = self.rtol * (1 + _SLACK)
                    if residual <= finished:
                        status = SolveStatus.CONVERGED
                    elif stop is _Stop.CONVERGED or residuals[-1, back[position]] <= finished:
                        status = SolveStatus.STALLED
                if norm == 0:
                    status, residual = SolveStatus.ZERO_RIGHT_HAND_SIDE, 0.0
                reports.append(
                    SolveReport(
                        solver="cg",
                        status=status,
                        iterations=iterations,
                        relative_residual=residual,
                        damping=float(damping),
                        lambda_max=lambda_max,
                        negative_curvature=stop is _Stop.NEGATIVE_CURVATURE,
                        matvecs=int(measured)
                        + (iterations + (stop in _TROUBLE) + extra_matvecs if position == 0 else 0),
                    )
                )
            log = [
                {"iteration": k, "relative_residual": float(row[0]), "relative_residual_most_damped": float(row[-1])}
                for k, row in enumerate(residuals)
            ]
            return Solution(vectors, reports, log)

        return solve

    def _run(self, product: Product, parameters: tf.Tensor, rhs: tf.Tensor, dampings: tf.Tensor):  # type: ignore[no-untyped-def]
        """The compiled loop; dampings ascend and the first is the one that drives it."""
        dtype, count = rhs.dtype, tf.shape(dampings)[0]
        base = dampings[0]
        frozen_below = min(1e-9, self.rtol / 10)
        shifts = dampings - base
        norm_squared = dot(rhs, rhs)
        ones = tf.ones([count], tf.float64)
        zeros = tf.zeros([count, tf.size(rhs)], dtype)
        history = tf.TensorArray(tf.float64, size=self.max_iterations + 1, clear_after_read=False)
        history = history.write(0, ones)

        def keep_going(k, stop, *_):  # type: ignore[no-untyped-def]
            return tf.logical_and(k < self.max_iterations, tf.equal(stop, int(_Stop.RUNNING)))

        def step(
            k,
            stop,
            solutions,
            directions,
            residual,
            direction,
            rr,
            zeta,
            zeta_before,
            alpha_before,
            beta_before,
            relative,
            history,
        ):  # type: ignore[no-untyped-def]
            image = product(parameters, direction) + tf.cast(base, dtype) * direction
            curvature = dot(direction, image)
            alpha = rr / curvature
            new_residual = residual - tf.cast(alpha, dtype) * image
            new_rr = dot(new_residual, new_residual)
            healthy = tf.logical_and(tf.math.is_finite(new_rr), curvature > 0)

            # Scalar recurrences of the shifted systems: their residuals are zeta times the driving one.
            denominator = alpha_before * zeta_before * (1 + alpha * shifts) + alpha * beta_before * (zeta_before - zeta)
            new_zeta = zeta * zeta_before * alpha_before / denominator
            active = tf.abs(zeta) * tf.sqrt(rr) > frozen_below * tf.sqrt(norm_squared)
            ratio = tf.where(active, new_zeta / tf.where(active, zeta, ones), 0)
            step_lengths = tf.cast(alpha * ratio, dtype)[:, tf.newaxis]
            new_solutions = solutions + step_lengths * directions
            beta = new_rr / rr
            turn = tf.cast(beta * ratio**2, dtype)[:, tf.newaxis]
            pull = tf.cast(tf.where(active, new_zeta, 0), dtype)[:, tf.newaxis]
            new_directions = pull * new_residual + turn * directions
            new_zeta = tf.where(active, new_zeta, 0)
            # zeta is reset only where a system is frozen; dividing by it is guarded above. Its residual stays.
            relative = tf.where(active, tf.abs(new_zeta) * tf.sqrt(new_rr / norm_squared), relative)
            new_stop = tf.where(relative[0] <= self.rtol, int(_Stop.CONVERGED), int(_Stop.RUNNING))
            trouble = tf.where(tf.math.is_finite(curvature), int(_Stop.NEGATIVE_CURVATURE), int(_Stop.NON_FINITE))
            trouble = tf.where(tf.logical_and(curvature > 0, tf.logical_not(healthy)), int(_Stop.NON_FINITE), trouble)

            return (
                tf.where(healthy, k + 1, k),
                tf.where(healthy, new_stop, trouble),
                tf.where(healthy, new_solutions, solutions),
                new_directions,
                new_residual,
                new_residual + tf.cast(beta, dtype) * direction,
                new_rr,
                new_zeta,
                zeta,
                alpha,
                beta,
                relative,
                history.write(tf.where(healthy, k + 1, self.max_iterations), tf.where(healthy, relative, ones)),
            )

        start = (
            tf.constant(0),
            tf.where(norm_squared > 0, int(_Stop.RUNNING), int(_Stop.CONVERGED)),
            zeros,
            tf.repeat(rhs[tf.newaxis], count, axis=0),
            rhs,
            rhs,
            norm_squared,
            ones,
            ones,
            tf.constant(1.0, tf.float64),
            tf.constant(0.0, tf.float64),
            ones,
            history,
        )
        start = (start[0], tf.where(tf.math.is_finite(norm_squared), start[1], int(_Stop.NON_FINITE)), *start[2:])
        k, stop, solutions, *_, history = tf.while_loop(keep_going, step, start, parallel_iterations=1)
        # TensorArrays must be full to be stacked; unused entries repeat the start.
        filled = tf.while_loop(
            lambda i, _: i <= self.max_iterations, lambda i, a: (i + 1, a.write(i, ones)), (k + 1, history)
        )[1]
        return solutions, k, stop, filled.stack()
