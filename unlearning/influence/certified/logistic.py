"""Logistic regression with noise in its objective, and its minimum."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import scipy.linalg
import scipy.optimize
from scipy.special import expit

from unlearning.errors import InputError
from unlearning.influence.certified._checks import at_least_zero, check_labels, finite_array
from unlearning.streams import stream

_POLISHING_STEPS = 20


@dataclasses.dataclass(frozen=True, eq=False)
class LogisticProblem:
    """The objective `L(theta; D)`: data, regularisation and noise.

    Attributes:
        features: float64 array of shape `(rows, features)`. There is no intercept; add a column of ones for one.
        labels: Array of shape `(rows,)` with values -1 and 1.
        regularisation: `lambda`, positive, on the sum over rows (not on their mean).
        noise: `b`, float64 array of shape `(features,)`; None for none. See `draw_noise`.

    Raises:
        InputError: If shapes, labels or values do not fit.
    """

    features: np.ndarray
    labels: np.ndarray
    regularisation: float = 1.0
    noise: np.ndarray | None = None

    def __post_init__(self) -> None:
        features = finite_array("features", self.features)
        if features.ndim != 2 or not features.size:
            raise InputError("features", "shape (rows, features), at least one of each", features.shape)
        labels = np.asarray(self.labels)
        if labels.shape != (len(features),):
            raise InputError("labels", f"one label a row ({len(features)})", labels.shape)
        check_labels(labels)
        if not 0 < self.regularisation < math.inf:
            raise InputError("regularisation", "a positive number", self.regularisation)
        width = features.shape[1]
        noise = np.zeros(width) if self.noise is None else finite_array("noise", self.noise)
        if noise.shape != (width,):
            raise InputError("noise", f"shape ({width},), one number a feature", noise.shape)
        for name, value in (("features", features), ("labels", labels.astype(np.float64)), ("noise", noise)):
            object.__setattr__(self, name, value)

    def loss(self, parameters: np.ndarray) -> float:
        """Returns `L(theta; D)`, in nats.

        Args:
            parameters: `theta`, shape `(features,)`.
        """
        losses = np.logaddexp(0, -self.labels * (self.features @ parameters))
        penalty = self.regularisation / 2 * parameters @ parameters + self._noise @ parameters
        return float(losses.sum() + penalty)

    def gradient(self, parameters: np.ndarray) -> np.ndarray:
        """Returns the gradient of `loss`, shape `(features,)`.

        Args:
            parameters: `theta`, shape `(features,)`.
        """
        return self.rows_gradient(parameters) + self.regularisation * parameters + self._noise

    def rows_gradient(self, parameters: np.ndarray, rows: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Returns the summed gradient of the losses of some rows, without penalty and noise, shape `(features,)`.

        Args:
            parameters: `theta`, shape `(features,)`.
            rows: Row numbers or a mask; all by default.
        """
        features, labels = self.features[rows], self.labels[rows]
        return -features.T @ (labels * expit(-labels * (features @ parameters)))

    def hessian(self, parameters: np.ndarray) -> np.ndarray:
        """Returns `X^T diag(p (1 - p)) X + lambda I`, shape `(features, features)`; positive definite.

        Args:
            parameters: `theta`, shape `(features,)`.
        """
        margins = self.features @ parameters
        curvature = expit(margins) * expit(-margins)
        hessian = (self.features.T * curvature) @ self.features
        hessian[np.diag_indices_from(hessian)] += self.regularisation
        return hessian

    @property
    def _noise(self) -> np.ndarray:
        assert self.noise is not None  # filled in by __post_init__
        return self.noise


def draw_noise(features: int, sigma: float, seed: int) -> np.ndarray:
    """Draws `b`, float64 of shape `(features,)`, of spread `sigma`: before the fit, and to be kept secret.

    Args:
        features: Number of features.
        sigma: Standard deviation, at least 0.
        seed: Seed; whoever knows it can take the noise away.

    Returns:
        The noise vector.

    Raises:
        InputError: If a value is out of range.
    """
    if features < 1:
        raise InputError("features", "a positive integer", features)
    at_least_zero("sigma", sigma)
    return stream(seed, "method", "certificate").normal(0.0, sigma, features)


def fit(problem: LogisticProblem, tolerance: float = 1e-8) -> np.ndarray:
    """Minimises the objective, by L-BFGS and then by exact Newton steps.

    The certificates start from an exact minimum, so what the fit leaves is made as small as float64 allows.

    Args:
        problem: The objective; it has one minimum.
        tolerance: Norm of the gradient at which to stop.

    Returns:
        `theta`, float64 of shape `(features,)`.

    Raises:
        InputError: If the gradient does not become as small; features of very different scale are a likely reason.
    """
    if not 0 < tolerance < math.inf:
        raise InputError("tolerance", "a positive number", tolerance)
    start = np.zeros(problem.features.shape[1])
    found = scipy.optimize.minimize(
        problem.loss, start, jac=problem.gradient, method="L-BFGS-B", options={"maxiter": 1000}
    ).x
    for _ in range(_POLISHING_STEPS):
        if gradient_residual(problem, found) <= tolerance:
            return found
        found = found - solve_positive(problem.hessian(found), problem.gradient(found))
    if gradient_residual(problem, found) <= tolerance:
        return found
    raise InputError(
        f"The fit stopped at a gradient of norm {gradient_residual(problem, found):.2g}, above the tolerance "
        f"{tolerance:.2g}. Standardise the features, or raise `regularisation`."
    )


def predict(parameters: np.ndarray, features: np.ndarray) -> np.ndarray:
    """Returns the predicted labels, int64 of shape `(rows,)` with values -1 and 1.

    Args:
        parameters: `theta`, shape `(features,)`.
        features: Shape `(rows, features)`.
    """
    return np.where(np.asarray(features) @ parameters >= 0, 1, -1).astype(np.int64)


def gradient_residual(problem: LogisticProblem, parameters: np.ndarray) -> float:
    """Returns `|grad L(theta; D)|`, the Euclidean norm, as measured.

    Args:
        problem: The problem that the parameters should minimise (after an unlearning: the changed one).
        parameters: `theta`, shape `(features,)`.
    """
    return float(np.linalg.norm(problem.gradient(parameters)))


def solve_positive(hessian: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Returns `H^-1 v` for a positive definite `H`."""
    return scipy.linalg.solve(hessian, vector, assume_a="pos")
