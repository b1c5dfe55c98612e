"""The projected kernel, in closed form.

With `P = C / tr C` (Kodge et al., AAAI 2025, in the notation of their singular values `r`):

    K' = M K,   M = alpha P ((alpha - 1) P + I)^-1,   eigenvalues alpha r / ((alpha - 1) r + 1)

which is also `M = alpha / (alpha - 1) * C (C + lambda I)^-1` with `lambda = tr C / (alpha - 1)`: each layer is fitted
anew, by ridge regression, to its own outputs on the trusted rows. No singular value decomposition is needed. Three
routes give the same kernel:

- `dual` works on the `(rows, rows)` matrix where rows are fewer than columns;
- `eigen` decomposes `C` once, after which an alpha costs two products;
- `cholesky` solves anew for each alpha, which is cheaper for wide layers and few alphas.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse.linalg import eigsh

from unlearning.errors import InputError
from unlearning.projection.statistics import Statistics, mirror

_EIGEN_COST = 4.5  # of an eigendecomposition, in columns^3 operations of the speed of a Cholesky solve (measured)
_WIDE = 3000  # columns beyond which the whole spectrum costs more than the projection
_LEADING = 24


def scaled_ratios(ratios: np.ndarray, alpha: float) -> np.ndarray:
    """Returns the eigenvalues of the projection, `alpha r / ((alpha - 1) r + 1)`.

    Args:
        ratios: Shares `r` of the second moment, at least 0.
        alpha: Scale, greater than 1; 1 would shrink everything to `P`, infinity project onto the span of the rows.
    """
    return alpha * ratios / ((alpha - 1) * ratios + 1)


def check_alpha(alpha: float) -> float:
    """Returns alpha if it is usable and raises `InputError` if not."""
    if not (np.isfinite(alpha) and alpha > 1):
        raise InputError("alpha", "finite numbers greater than 1 (smaller ones shrink the network to nothing)", alpha)
    return alpha


class Projector:
    """Projects one site's kernel.

    Args:
        statistics: The site's statistics, with a positive trace; taken over (its arrays are reused).
        outputs: Columns of each kernel matrix.
        alphas: For how many alphas `project` will be called; decides between `eigen` and `cholesky`.
        route: Overrides the choice.

    Attributes:
        route: `dual`, `eigen` or `cholesky`.
    """

    def __init__(self, statistics: Statistics, outputs: int, alphas: int = 1, route: str | None = None) -> None:
        if not (np.isfinite(statistics.trace).all() and statistics.trace.any()):
            raise InputError("statistics", "a positive, finite trace", statistics.trace)
        self._dead = statistics.trace == 0
        self._trace = np.where(self._dead, 1.0, statistics.trace)[:, None]
        self._gram, self._kept = statistics.gram, statistics.kept
        columns = (self._gram if self._gram is not None else self._kept).shape[-1]  # type: ignore[union-attr]
        if route is None:
            if self._kept is not None:
                route = "dual"
            else:
                route = "eigen" if alphas * (columns / 3 + 2 * outputs) >= _EIGEN_COST * columns else "cholesky"
        self.route = route
        self._values: np.ndarray | None = None
        if route == "dual":
            assert self._kept is not None
            self._values, vectors = np.linalg.eigh(self._kept @ self._kept.swapaxes(1, 2))
            self._basis = self._kept.swapaxes(1, 2) @ vectors  # (groups, columns, rows)
            self._kept = None
        else:
            if self._gram is None:
                assert self._kept is not None
                self._gram = self._kept.swapaxes(1, 2) @ self._kept
                self._kept = None
            if route == "eigen":
                self._values, self._basis = np.linalg.eigh(self._gram)
                self._gram = None

    def project(self, kernel: np.ndarray, alpha: float) -> np.ndarray:
        """Returns `M K`; the kernel of a group whose rows are all zero (a dead channel) stays as it is.

        Args:
            kernel: float64 array of shape `(groups, columns, outputs)`.
            alpha: Scale, greater than 1.

        Returns:
            An array of the same shape.
        """
        check_alpha(alpha)
        projected = self._multiply(kernel, alpha)
        projected[self._dead] = kernel[self._dead]
        return projected

    def _multiply(self, kernel: np.ndarray, alpha: float) -> np.ndarray:
        if self.route == "cholesky":
            assert self._gram is not None
            return np.stack(
                [self._solve(c, t, k, alpha) for c, t, k in zip(self._gram, self._trace[:, 0], kernel, strict=True)]
            )
        # Rounding leaves tiny negative eigenvalues; -1 / (alpha - 1) would be a pole.
        assert self._values is not None
        values = np.clip(self._values, 0, None)
        if self.route == "eigen":
            weights = scaled_ratios(values / self._trace, alpha)
        else:
            # The basis carries a factor sqrt(value) on either side, which is divided out without dividing by zero.
            weights = alpha / ((alpha - 1) * values + self._trace)
        return self._basis @ (weights[:, :, None] * (self._basis.swapaxes(1, 2) @ kernel))

    @staticmethod
    def _solve(gram: np.ndarray, trace: float, kernel: np.ndarray, alpha: float) -> np.ndarray:
        shift = trace / (alpha - 1)
        diagonal = gram.diagonal().copy()
        gram[np.diag_indices_from(gram)] += shift
        # The factor takes the place of the upper triangle, which the lower one restores: wide layers leave no room for
        # a copy. (LAPACK wants columns contiguous, hence the transposes.)
        factor = cho_factor(gram.T, lower=True, overwrite_a=True, check_finite=False)
        solution = cho_solve(factor, kernel, check_finite=False)
        gram[np.diag_indices_from(gram)] = diagonal
        mirror(gram)
        return alpha / (alpha - 1) * (kernel - shift * solution)

    def ratios(self) -> np.ndarray:
        """Returns the largest shares `r`, descending, of shape `(groups, count)`.

        All of them (their sum is 1) where the columns are at most a few thousand; the leading ones of wider layers.
        """
        if self._values is not None:
            values = self._values
        else:
            assert self._gram is not None
            wide = self._gram.shape[-1] > _WIDE
            values = np.stack([_leading(gram) for gram in self._gram]) if wide else np.linalg.eigvalsh(self._gram)
        return np.clip(values, 0, None)[:, ::-1] / self._trace


def _leading(gram: np.ndarray) -> np.ndarray:
    """Returns the largest eigenvalues, ascending."""
    start = np.full(len(gram), len(gram) ** -0.5)
    return np.sort(eigsh(gram, _LEADING, v0=start, return_eigenvectors=False))
