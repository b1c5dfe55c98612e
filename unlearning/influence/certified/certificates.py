"""What a residual is worth: bounds on it, and the noise that hides it."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from unlearning.errors import InputError
from unlearning.influence.certified._checks import at_least_zero
from unlearning.influence.certified.logistic import LogisticProblem, gradient_residual

_CURVATURE_SLOPE = 1 / (6 * math.sqrt(3))
"""Largest slope of the curvature `p (1 - p)` of the logistic loss in its margin."""


@dataclasses.dataclass(frozen=True)
class Certificate:
    """What a residual is worth under noise that was chosen before.

    Attributes:
        residual: The residual norm that was certified.
        budget: The largest residual that `sigma` hides at the wanted epsilon and delta.
        epsilon: What the residual reaches; above 1 the theorem does not apply.
        delta: As asked for.
        holds: Whether the residual is within the budget. If not: retrain.
    """

    residual: float
    budget: float
    epsilon: float
    delta: float
    holds: bool


def newton_residual_bound(
    before: LogisticProblem, after: LogisticProblem, parameters: np.ndarray, updated: np.ndarray
) -> float:
    """Bounds the residual of one second-order step from data and step alone.

    With `d = theta' - theta`: `slope/2 |X~|_2 |(X~ d)^2| + |grad L(theta; D)|`. It follows Guo et al., Corollary 1,
    with `|x_i.d|` itself where they put `|d|` for rows of norm 1, and with what the fit left over.

    Args:
        before: The problem that was fitted.
        after: The same problem with changed rows.
        parameters: `theta` before the step, shape `(features,)`.
        updated: `theta'`, what `second_order` returned for them with one step.

    Returns:
        The bound; no smaller than `gradient_residual(after, updated)` up to rounding.
    """
    products = after.features @ (updated - parameters)
    largest = np.linalg.norm(after.features, ord=2)
    remainder = _CURVATURE_SLOPE / 2 * largest * np.linalg.norm(products**2)
    return float(remainder) + gradient_residual(before, parameters)


def worst_case_residual_bound(
    rows: int, changed: int, *, largest_norm: float = 1.0, regularisation: float = 1.0
) -> float:
    """Bounds the residual of one second-order step from an exact fit for any data and noise.

    `slope/2 n R^3 (2 m R / lambda)^2` for `m` of `n` rows changed, none longer than `R` before or after: Theorem 1 of
    Guo et al. for the summed loss and changed (not removed) rows. A feature removal changes every row that has the
    feature.

    Args:
        rows: `n`.
        changed: `m`.
        largest_norm: `R`.
        regularisation: `lambda`.

    Returns:
        The bound on the norm of the residual gradient.

    Raises:
        InputError: If a value is out of range.
    """
    if not 0 <= changed <= rows:
        raise InputError("changed", f"an integer in 0..{rows}, the number of rows", changed)
    at_least_zero("largest_norm", largest_norm)
    if not 0 < regularisation < math.inf:
        raise InputError("regularisation", "a positive number", regularisation)
    step = 2 * changed * largest_norm / regularisation
    return _CURVATURE_SLOPE / 2 * rows * largest_norm**3 * step**2


def certified_sigma(residual: float, epsilon: float, delta: float) -> float:
    """Returns the standard deviation of the noise that hides a residual: `r c / epsilon`.

    Passes on an `InputError` if a value is out of range.

    Args:
        residual: Largest residual norm `r` to be hidden.
        epsilon: In (0, 1].
        delta: In (0, 1).
    """
    at_least_zero("residual", residual)
    return residual * _constant(delta) / _check_epsilon(epsilon)


def residual_budget(sigma: float, epsilon: float, delta: float) -> float:
    """Returns the largest residual that noise hides: `sigma epsilon / c`.

    Passes on an `InputError` if a value is out of range.

    Args:
        sigma: Standard deviation of the noise of the fit.
        epsilon: In (0, 1].
        delta: In (0, 1).
    """
    at_least_zero("sigma", sigma)
    return sigma * _check_epsilon(epsilon) / _constant(delta)


def reached_epsilon(residual: float, sigma: float, delta: float) -> float:
    """Returns `r c / sigma`; above 1 (or infinite, without noise) the theorem does not apply.

    Passes on an `InputError` if a value is out of range.

    Args:
        residual: Residual norm `r`.
        sigma: Standard deviation of the noise of the fit.
        delta: In (0, 1).
    """
    at_least_zero("residual", residual)
    at_least_zero("sigma", sigma)
    if sigma == 0:
        return math.inf if residual else 0.0
    return residual * _constant(delta) / sigma


def certify(residual: float, *, sigma: float, epsilon: float, delta: float) -> Certificate:
    """Compares a residual with what the noise of the fit hides.

    Passes on an `InputError` if a value is out of range.

    Args:
        residual: Measured, or a bound; see the three numbers at the top of this module.
        sigma: Standard deviation of the noise that the model was fitted with.
        epsilon: Wanted, in (0, 1].
        delta: Wanted, in (0, 1).

    Returns:
        The certificate. Where it does not hold, retrain; drawing larger noise afterwards certifies nothing.
    """
    budget = residual_budget(sigma, epsilon, delta)
    return Certificate(residual, budget, reached_epsilon(residual, sigma, delta), delta, residual <= budget)


def _constant(delta: float) -> float:
    if not 0 < delta < 1:
        raise InputError("delta", "a float in (0, 1)", delta)
    return math.sqrt(2 * math.log(1.5 / delta))


def _check_epsilon(epsilon: float) -> float:
    # The Gaussian mechanism behind the theorem is proved for epsilon up to 1; far above, its formula is wrong.
    if not 0 < epsilon <= 1:
        raise InputError("epsilon", "a float in (0, 1]", epsilon)
    return epsilon
