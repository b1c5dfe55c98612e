"""Solving `(A + damping I) x = b` when `A` is only known through products: the largest eigenvalue, LiSSA, dense.

A solver is a small object with its tolerances; binding it to a product compiles the whole loop once, and the bound
function is then called with parameters and right-hand sides. Solvers do not raise on trouble: they report a status.
The one to use, `ConjugateGradient`, has a module of its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from unlearning.errors import InputError
from unlearning.influence.objective import Objective
from unlearning.influence.solutions import Product, Solution, dot
from unlearning.progress import pulse
from unlearning.streams import stream
from unlearning.task import SolveReport, SolveStatus


def estimate_lambda_max(
    product: Product, size: int, dtype: tf.DType, *, iterations: int, seed: int
) -> Callable[[tf.Tensor], float]:
    """Compiles the power iteration for the largest eigenvalue of a product.

    Args:
        product: The curvature as a graph function.
        size: Length of its vectors.
        dtype: Their dtype.
        iterations: Products to spend.
        seed: Seed of the starting vector.

    Returns:
        A function from parameters `(size,)` to the Rayleigh quotient after the last iteration.
    """
    initial = tf.constant(stream(seed, "method", "power iteration").standard_normal(size), dtype=dtype)

    @tf.function(autograph=False)
    def run(parameters: tf.Tensor) -> tf.Tensor:
        def step(k: tf.Tensor, vector: tf.Tensor, value: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            image = product(parameters, vector)
            length = tf.norm(image)
            return k + 1, tf.where(length > 0, image / length, vector), tf.cast(dot(vector, image), tf.float64)

        start = (tf.constant(0), initial / tf.norm(initial), tf.constant(0.0, tf.float64))
        return tf.while_loop(lambda k, *_: k < iterations, step, start, parallel_iterations=1)[2]

    return lambda parameters: float(run(parameters))


@dataclasses.dataclass(frozen=True)
class Lissa:
    """The stochastic recursion `u <- b + (1 - damping) u - H_batch u / scale`, with solution `u / scale`.

    Agarwal, Bullins and Hazan (JMLR 18, 2017), in the form and with the constants of the published CIFAR-10 code of
    Warnecke et al. (NDSS 2023): `H_batch` is the Hessian of the summed loss of `batch_rows` rows, batches run through
    one random permutation, and the loop ends `patience - 1` iterations after the smallest L1 norm of an update. That
    rule stops on sampling noise, long before convergence, so the report can carry the true residual of the returned
    vector on the full sum; `status` is `early_stop` where the rule struck.

    Attributes:
        scale: Must exceed half the largest eigenvalue of a batch Hessian, or the recursion diverges.
        damping: Shrinks `u` each iteration; the fixed point solves `(H_batch + damping * scale I) x = b`.
        batch_rows: Rows a batch.
        patience: Iterations without a smaller update norm before stopping.
        max_iterations: Upper limit; None for 100 passes over the rows.
    """

    scale: float = 2e5
    damping: float = 1e-4
    batch_rows: int = 1024
    patience: int = 20
    max_iterations: int | None = None

    def bind(self, objective: Objective, seed: int, measure_residual: bool = True) -> Callable[..., Solution]:
        """Compiles the loop over an objective's rows.

        Args:
            objective: Its rows are sampled, with their labels.
            seed: Seed of the permutations; each solve draws a new one.
            measure_residual: Spend one more pass over all rows on the residual; NaN is reported without.

        Returns:
            A function of `parameters` and `right_hand_side`, both `(size,)`, returning a `Solution` with one vector.
        """
        rng = stream(seed, "method", "lissa")
        rows, batch = objective.rows, min(self.batch_rows, objective.rows)
        limit = self.max_iterations or 100 * -(-rows // batch)

        @tf.function(autograph=False)
        def run(parameters: tf.Tensor, rhs: tf.Tensor, permutation: tf.Tensor):  # type: ignore[no-untyped-def]
            norms = tf.TensorArray(tf.float64, size=0, dynamic_size=True)

            def keep_going(i, u, best, since, going, norms):  # type: ignore[no-untyped-def]
                return tf.logical_and(going, i < limit)

            def step(i, u, best, since, going, norms):  # type: ignore[no-untyped-def]
                with tf.control_dependencies([tf.py_function(pulse, [], [])]):
                    block = tf.math.floormod(tf.cast(i, tf.int64) * batch, rows) // batch
                positions = permutation[block * batch : (block + 1) * batch]
                product = objective.batch_hessian_product(parameters, u, positions)
                new = rhs + (1 - self.damping) * u - product / self.scale
                norm = tf.reduce_sum(tf.cast(tf.abs(new - u), tf.float64))
                smaller = norm < best
                going = tf.math.is_finite(norm) & ~(~smaller & (since >= self.patience))
                since = tf.where(smaller, 2, since + 1)  # the published counter starts at 2
                return i + 1, new, tf.where(smaller, norm, best), since, going, norms.write(i, norm)

            start = (
                tf.constant(0),
                rhs,
                tf.constant(np.inf, tf.float64),
                tf.constant(0),
                tf.constant(True),
                norms,
            )
            i, u, _, _, going, norms = tf.while_loop(keep_going, step, start, parallel_iterations=1)
            return u / self.scale, i, going, norms.stack()

        @tf.function(autograph=False)
        def apply_summed_hessian(parameters: tf.Tensor, vector: tf.Tensor) -> tf.Tensor:
            def step(start: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
                positions = tf.range(start, tf.minimum(start + batch, rows), dtype=tf.int64)
                return start + batch, total + objective.batch_hessian_product(parameters, vector, positions)

            return tf.while_loop(lambda s, _: s < rows, step, (tf.constant(0, tf.int64), tf.zeros_like(vector)))[1]

        def solve(parameters: tf.Tensor, right_hand_side: tf.Tensor) -> Solution:
            permutation = tf.constant(rng.permutation(rows).astype(np.int64))
            vector, iterations, going, norms = run(parameters, right_hand_side, permutation)
            iterations = int(iterations)
            finite = bool(tf.reduce_all(tf.math.is_finite(vector)))
            residual = float("inf")
            length = dot(right_hand_side, right_hand_side)
            if finite and measure_residual:
                # The system that the recursion has as its fixed point, with the batch Hessian's expectation.
                damped = apply_summed_hessian(parameters, vector) * (batch / rows)
                damped += self.damping * self.scale * vector
                rest = right_hand_side - damped
                residual = float(tf.sqrt(dot(rest, rest) / length)) if length else 0.0
            elif finite:
                residual = float("nan")
            status = SolveStatus.MAX_ITERATIONS
            if not length:
                status = SolveStatus.ZERO_RIGHT_HAND_SIDE
            elif not finite or (not bool(going) and iterations <= self.patience):  # grew from the first iteration on
                status = SolveStatus.DIVERGED
            elif not bool(going):
                status = SolveStatus.EARLY_STOP
            report = SolveReport(
                solver="lissa",
                status=status,
                iterations=iterations,
                relative_residual=residual,
                damping=self.damping * self.scale,
                lambda_max=None,
                negative_curvature=False,
                matvecs=iterations,
            )
            log = [{"iteration": i + 1, "update_norm": float(n)} for i, n in enumerate(norms.numpy())]
            return Solution(vector[tf.newaxis], [report], log)

        return solve


DENSE_LIMIT = 5000
"""Most parameters for which `solve_dense` will form the matrix."""
DENSE_TOLERANCE = 1e-3
"""Largest relative residual with which a dense solve counts as converged."""


def solve_dense(
    product: Product, parameters: tf.Tensor, right_hand_side: tf.Tensor, dampings: Sequence[float]
) -> Solution:
    """Forms the matrix column by column and solves exactly in float64; an oracle for small heads.

    Args:
        product: The undamped curvature as a graph function.
        parameters: Shape `(size,)`.
        right_hand_side: Shape `(size,)`.
        dampings: Values added to the diagonal.

    Returns:
        A `Solution`, one vector a damping, of least squares where the damped matrix is singular. The residuals are
        those of the vectors as returned, in the precision of the right-hand side; a status of `stalled` says that the
        precision, or a singular matrix, leaves more than `DENSE_TOLERANCE` of the right-hand side.

    Raises:
        InputError: If there are more than `DENSE_LIMIT` parameters.
    """
    size = int(right_hand_side.shape[0])
    if size > DENSE_LIMIT:
        raise InputError("solver", f"'cg' or 'lissa' above {DENSE_LIMIT} parameters", f"'dense' for {size} parameters")
    matrix = dense_matrix(product, parameters)
    rhs = right_hand_side.numpy().astype(np.float64)
    norm = float(np.linalg.norm(rhs))
    finite = bool(np.isfinite(matrix).all() and np.isfinite(rhs).all())
    spectrum = np.linalg.eigvalsh(matrix) if finite else np.full(size, np.nan)
    vectors, reports = [], []
    for position, damping in enumerate(dampings):
        damped = matrix + damping * np.eye(size)
        vector = np.linalg.lstsq(damped, rhs, rcond=None)[0] if finite else np.zeros(size)
        vector = vector.astype(right_hand_side.dtype.as_numpy_dtype)
        residual = float(np.linalg.norm(rhs - damped @ vector) / norm) if finite and norm else float(not finite)
        status = SolveStatus.CONVERGED if residual <= DENSE_TOLERANCE else SolveStatus.STALLED
        if not finite:
            status = SolveStatus.NON_FINITE
        elif not norm:
            status = SolveStatus.ZERO_RIGHT_HAND_SIDE
        vectors.append(vector)
        reports.append(
            SolveReport(
                solver="dense",
                status=status,
                iterations=1,
                relative_residual=residual,
                damping=float(damping),
                lambda_max=float(spectrum[-1]) if finite else None,
                negative_curvature=bool(spectrum[0] + damping < 0),
                matvecs=size if position == 0 else 0,
            )
        )
    return Solution(tf.constant(np.stack(vectors), dtype=right_hand_side.dtype), reports, [])


def dense_matrix(product: Product, parameters: tf.Tensor) -> np.ndarray:
    """Returns the symmetrised float64 matrix of a product, shape `(size, size)`."""
    size = int(parameters.shape[0])
    compiled = tf.function(product, autograph=False)
    identity = np.eye(size)
    columns = [compiled(parameters, tf.constant(column, dtype=parameters.dtype)).numpy() for column in identity]
    matrix = np.stack(columns, axis=1).astype(np.float64)
    return (matrix + matrix.T) / 2
