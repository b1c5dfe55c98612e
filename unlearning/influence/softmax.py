"""Multinomial logistic regression on a table of features: the last layer of a classifier, fitted to its end.

    J(W) = (1/n) sum_i CE(z_i' W, y_i) + penalty/2 ||W||^2

is convex, and its curvature is nowhere above `1/2 (I - 11'/K) (x) Z'Z/n + penalty I` (Boehning, Annals of the Institute
of Statistical Mathematics 44, 1992). With `L L' = Z'Z/(2n) + penalty I` and `W = L^-T V`, that bound is at most the
identity in `V`: one Cholesky factorisation of the size of the features serves all classes and every step, and L-BFGS,
which knows nothing of scales, is near its end after a few dozen of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
from scipy.linalg import cholesky, solve_triangular
from scipy.optimize import minimize
from scipy.special import log_softmax
from threadpoolctl import threadpool_limits

from unlearning.progress import pulse

_BLOCK = 4096
_CONSTANT = 1e-8  # a feature whose spread is below this share of the largest one says nothing


@dataclasses.dataclass(frozen=True, eq=False)
class Linear:
    """A linear layer on the features as they came.

    Attributes:
        kernel: float64 `(features, K)`.
        bias: float64 `(K,)`; zeros where none was asked for.
        penalty: That it was fitted with.
        iterations: What its fit took.
    """

    kernel: np.ndarray
    bias: np.ndarray
    penalty: float
    iterations: int

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Returns the scores of rows, shape `(rows, K)`."""
        return features @ self.kernel + self.bias


class Standardised:
    """Features with mean zero and spread one, and the way back.

    Args:
        features: float array `(rows, d)`; it is not changed.
        intercept: Whether the layer has a bias; without one nothing is centred.
    """

    def __init__(self, features: np.ndarray, intercept: bool = True) -> None:
        mean = features.mean(axis=0, dtype=np.float64)
        spread = features.std(axis=0, dtype=np.float64)
        constant = spread <= _CONSTANT * max(float(spread.max(initial=0)), 1e-30)
        self.intercept = intercept
        self._mean = mean if intercept else np.zeros_like(mean)
        self._shrink = np.where(constant, 0.0, 1 / np.where(constant, 1.0, spread))
        self.rows = ((features - self._mean) * self._shrink).astype(np.float32)

    def back(self, kernel: np.ndarray, bias: np.ndarray, penalty: float, iterations: int) -> Linear:
        """Returns the layer that does on the features what `kernel` and `bias` do on the standardised ones."""
        unscaled = kernel * self._shrink[:, np.newaxis]
        return Linear(unscaled, bias - self._mean @ unscaled, penalty, iterations)

    def moment(self) -> np.ndarray:
        """Returns `Z'Z / n`, float64 `(d, d)`."""
        total = np.zeros((self.rows.shape[1],) * 2)
        for start in range(0, len(self.rows), _BLOCK):
            block = self.rows[start : start + _BLOCK].astype(np.float64)
            total += block.T @ block
        return total / len(self.rows)


def fit_softmax(
    features: Standardised, targets: np.ndarray, penalties: Sequence[float], *, iterations: int = 100
) -> Iterator[Linear]:
    """Fits a softmax layer for several penalties, from the strongest to the weakest, each from the one before.

    Args:
        features: The features.
        targets: float `(rows, K)`, rows that sum to one: labels as one-hot vectors, or probabilities.
        penalties: Positive multiples of half the squared norm; the bias is not penalised.
        iterations: Most steps a penalty.

    Yields:
        One layer a penalty.

    Example:
        >>> x = np.array([[0.0], [1.0], [2.0], [3.0]])
        >>> (layer,) = fit_softmax(Standardised(x), np.eye(2)[[0, 0, 1, 1]], [0.01])
        >>> layer.logits(x).argmax(axis=1).tolist()
        [0, 0, 1, 1]
    """
    moment = features.moment()
    columns, classes = len(moment), targets.shape[1]
    targets = targets.astype(np.float32)
    kernel = np.zeros((columns, classes))
    bias = np.log(np.maximum(targets.mean(axis=0), 1e-12)) * features.intercept
    for penalty in sorted(penalties, reverse=True):
        factor = cholesky(moment / 2 + penalty * np.eye(columns), lower=True)

        def objective(
            flat: np.ndarray, factor: np.ndarray = factor, penalty: float = penalty
        ) -> tuple[float, np.ndarray]:
            pulse()
            turned, offset = flat[:-classes].reshape(columns, classes), flat[-classes:]
            weights = solve_triangular(factor, turned, lower=True, trans="T")
            logs = log_softmax(features.rows @ weights.astype(np.float32) + offset.astype(np.float32), axis=1)
            loss = -float(np.mean(np.sum(targets * logs, axis=1, dtype=np.float64)))
            wrong = (np.exp(logs) - targets) / len(targets)
            slope = features.rows.T @ wrong + penalty * weights
            sides = wrong.sum(axis=0, dtype=np.float64) * features.intercept
            back = solve_triangular(factor, slope, lower=True)
            return loss + penalty / 2 * float(np.sum(weights**2)), np.concatenate([back.ravel(), sides])

        start = np.concatenate([(factor.T @ kernel).ravel(), bias])
        options = {"maxiter": iterations, "gtol": 1e-6}
        with threadpool_limits(1, "blas"):  # many small products: threads that wait for the next one burn the processor
            found = minimize(objective, start, jac=True, method="L-BFGS-B", options=options)
        kernel = solve_triangular(factor, found.x[:-classes].reshape(columns, classes), lower=True, trans="T")
        bias = found.x[-classes:]
        yield features.back(kernel, bias, penalty, int(found.nit))


def fit_ridge(features: Standardised, targets: np.ndarray, penalty: float) -> Linear:
    """Fits class indicators by least squares with a penalty.

    Args:
        features: The features.
        targets: float `(rows, K)`, rows that sum to one.
        penalty: Positive multiple of the squared norm, beside the mean squared error.

    Returns:
        The layer.
    """
    moment = features.moment()
    mean = targets.mean(axis=0, dtype=np.float64) * features.intercept
    cross = features.rows.T.astype(np.float64) @ (targets - mean) / len(targets)
    factor = cholesky(moment + penalty * np.eye(len(moment)), lower=True)
    kernel = solve_triangular(factor, solve_triangular(factor, cross, lower=True), lower=True, trans="T")
    return features.back(kernel, mean, penalty, 1)
