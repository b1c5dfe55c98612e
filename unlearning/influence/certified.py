"""Certified unlearning for logistic regression: exact Hessian, measured gradient residual, and what it is worth.

For labels `y` in {-1, 1}, parameters `theta` of shape `(features,)`, and noise `b ~ N(0, sigma^2 I)` that is drawn
before the fit,

    L(theta; D) = sum_i log(1 + exp(-y_i theta.x_i)) + lambda/2 |theta|^2 + b.theta.

Some rows of `D` change, which gives `D~`. With `G = grad L(theta; D~) - grad L(theta; D)`, to which only the changed
rows contribute, the closed-form updates are (Warnecke et al., "Machine Unlearning of Features and Labels", NDSS 2023)

    first order    theta' = theta - tau G
    second order   theta' = theta - H^-1 G,    H the Hessian of L(theta; D~), formed and factorised here.

The residual `|grad L(theta'; D~)|` is zero for the retrained model alone. The noise hides a residual of at most `r`:
`theta'` and a model retrained with noise of its own are (epsilon, delta)-indistinguishable if

    sigma >= r c / epsilon,    c = sqrt(2 ln(1.5 / delta))

(Guo et al., "Certified Data Removal from Machine Learning Models", ICML 2020, Theorem 3). So `sigma` is chosen before
the fit, and fixes how large a residual may become; beyond that, retrain. Three numbers can stand for `r`:

1. `worst_case_residual_bound` holds for any data with rows of that norm and for any noise. It is the strict one, and
   mostly too large to be of use.
2. `newton_residual_bound` uses these data and this step. It needs no gradient at the new parameters.
3. `gradient_residual` is measured, for these data and this draw of the noise. The experiments of Warnecke et al. use
   this one.

The second and third hold for the run at hand, not in advance: a certificate built on them says nothing about what the
decision to retrain gives away.

Everything is float64, dense, and meant for up to a few thousand features.

Example:
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(200, 5))
    >>> before = LogisticProblem(x, np.where(x[:, 0] + x[:, 1] > 0, 1, -1))
    >>> after = remove_features(before, [3])
    >>> theta = second_order(before, after, fit(before))
    >>> bool(gradient_residual(after, theta) < 0.01 * gradient_residual(after, fit(before)))
    True
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import scipy.linalg
import scipy.optimize
from scipy.special import expit

from unlearning.errors import InputError, invalid
from unlearning.task import check_rows

_CURVATURE_SLOPE = 1 / (6 * math.sqrt(3))
"""Largest slope of the curvature `p (1 - p)` of the logistic loss in its margin."""

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
        features = _finite("features", self.features)
        if features.ndim != 2 or not features.size:
            raise invalid("features", "shape (rows, features), at least one of each", features.shape)
        labels = np.asarray(self.labels)
        if labels.shape != (len(features),):
            raise invalid("labels", f"one label a row ({len(features)})", labels.shape)
        _check_labels(labels)
        if not 0 < self.regularisation < math.inf:
            raise invalid("regularisation", "a positive number", self.regularisation)
        width = features.shape[1]
        noise = np.zeros(width) if self.noise is None else _finite("noise", self.noise)
        if noise.shape != (width,):
            raise invalid("noise", f"shape ({width},), one number a feature", noise.shape)
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


def draw_noise(features: int, sigma: float, seed: int) -> np.ndarray:
    """Draws `b`, float64 of shape `(features,)`, of spread `sigma`: before the fit, and to be kept secret.

    Args:
        features: Number of features.
        sigma: Standard deviation, at least 0.
        seed: Seed; whoever knows it can take the noise away.

    Raises:
        InputError: If a value is out of range.
    """
    if features < 1:
        raise invalid("features", "a positive integer", features)
    _at_least_zero("sigma", sigma)
    return np.random.default_rng(seed).normal(0.0, sigma, features)


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
        raise invalid("tolerance", "a positive number", tolerance)
    start = np.zeros(problem.features.shape[1])
    found = scipy.optimize.minimize(
        problem.loss, start, jac=problem.gradient, method="L-BFGS-B", options={"maxiter": 1000}
    ).x
    for _ in range(_POLISHING_STEPS):
        if gradient_residual(problem, found) <= tolerance:
            return found
        found = found - _solve(problem.hessian(found), problem.gradient(found))
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


def remove_features(problem: LogisticProblem, columns: Sequence[int] | np.ndarray) -> LogisticProblem:
    """Returns the problem with some columns set to zero in every row: `D~` of a feature removal.

    Its minimum equals that of a fit without the columns, which themselves get `-b/lambda`: noise, and no trace of the
    data.

    Args:
        problem: The problem before.
        columns: Column numbers.

    Raises:
        InputError: If a column does not exist, or none is given.
    """
    columns = check_rows("columns", np.asarray(columns), problem.features.shape[1])
    features = problem.features.copy()
    features[:, columns] = 0
    return dataclasses.replace(problem, features=features)


def correct_rows(
    problem: LogisticProblem,
    rows: Sequence[int] | np.ndarray,
    *,
    labels: np.ndarray | None = None,
    features: np.ndarray | None = None,
) -> LogisticProblem:
    """Returns the problem with other labels or features in some rows: `D~` of a correction.

    Args:
        problem: The problem before.
        rows: Distinct row numbers, shape `(changed,)`.
        labels: What they should have been, -1 or 1, shape `(changed,)`; None where they stay.
        features: What they should have been, shape `(changed, features)`; None where they stay.

    Raises:
        InputError: If nothing changes, or shapes and values do not fit.
    """
    rows = check_rows("rows", np.asarray(rows), len(problem.labels))
    if len(np.unique(rows)) != len(rows):
        raise invalid("rows", "distinct row numbers", "repeated rows")
    if labels is None and features is None:
        raise invalid("labels", "corrected labels, corrected features, or both", None)
    new_labels, new_features = problem.labels.copy(), problem.features.copy()
    if labels is not None:
        if np.shape(labels) != rows.shape:
            raise invalid("labels", f"one corrected label a row ({len(rows)})", np.shape(labels))
        _check_labels(np.asarray(labels))
        new_labels[rows] = labels
    if features is not None:
        if np.shape(features) != (len(rows), new_features.shape[1]):
            raise invalid("features", f"shape ({len(rows)}, {new_features.shape[1]})", np.shape(features))
        new_features[rows] = _finite("features", features)
    return dataclasses.replace(problem, features=new_features, labels=new_labels)


def gradient_difference(before: LogisticProblem, after: LogisticProblem, parameters: np.ndarray) -> np.ndarray:
    """Returns `G = grad L(theta; D~) - grad L(theta; D)`, summed over the changed rows, shape `(features,)`.

    Args:
        before: The problem that was fitted.
        after: The same problem with changed rows.
        parameters: `theta`, shape `(features,)`.

    Raises:
        InputError: If the problems differ in more than their rows.
    """
    rows = changed_rows(before, after)
    return after.rows_gradient(parameters, rows) - before.rows_gradient(parameters, rows)


def changed_rows(before: LogisticProblem, after: LogisticProblem) -> np.ndarray:
    """Returns the numbers of the rows in which two problems differ, int64 and ascending.

    Args:
        before: The problem that was fitted.
        after: The same problem with changed rows.

    Raises:
        InputError: If the problems differ in more than their rows.
    """
    if before.features.shape != after.features.shape:
        raise invalid("after", f"features of shape {before.features.shape}", after.features.shape)
    if before.regularisation != after.regularisation or not np.array_equal(before._noise, after._noise):
        raise invalid("after", "the same regularisation and noise as before", "others")
    return np.flatnonzero((before.features != after.features).any(axis=1) | (before.labels != after.labels))


def first_order(
    before: LogisticProblem, after: LogisticProblem, parameters: np.ndarray, learning_rate: float
) -> np.ndarray:
    """Returns `theta - tau G`, shape `(features,)`.

    Args:
        before: The problem that was fitted.
        after: The same problem with changed rows.
        parameters: Its minimum `theta`, shape `(features,)`; not changed.
        learning_rate: `tau`, on the sum over rows.

    Raises:
        InputError: If `learning_rate` is not positive, or the problems differ in more than their rows.
    """
    if not 0 < learning_rate < math.inf:
        raise invalid("learning_rate", "a positive number", learning_rate)
    return parameters - learning_rate * gradient_difference(before, after, parameters)


def second_order(before: LogisticProblem, after: LogisticProblem, parameters: np.ndarray, steps: int = 1) -> np.ndarray:
    """Returns `theta - H^-1 G`, shape `(features,)`, with the Hessian of the changed data.

    Args:
        before: The problem that was fitted.
        after: The same problem with changed rows.
        parameters: Its minimum `theta`, shape `(features,)`; not changed.
        steps: 1 for the closed form. Further steps are Newton steps on the changed data; they converge to retraining.

    Raises:
        InputError: If `steps` is not positive, or the problems differ in more than their rows.
    """
    if steps < 1:
        raise invalid("steps", "a positive integer", steps)
    parameters = parameters - _solve(after.hessian(parameters), gradient_difference(before, after, parameters))
    for _ in range(steps - 1):
        parameters = parameters - _solve(after.hessian(parameters), after.gradient(parameters))
    return parameters


def gradient_residual(problem: LogisticProblem, parameters: np.ndarray) -> float:
    """Returns `|grad L(theta; D)|`, the Euclidean norm, as measured.

    Args:
        problem: The problem that the parameters should minimise (after an unlearning: the changed one).
        parameters: `theta`, shape `(features,)`.
    """
    return float(np.linalg.norm(problem.gradient(parameters)))


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

    Raises:
        InputError: If a value is out of range.
    """
    if not 0 <= changed <= rows:
        raise invalid("changed", f"an integer in 0..{rows}, the number of rows", changed)
    _at_least_zero("largest_norm", largest_norm)
    if not 0 < regularisation < math.inf:
        raise invalid("regularisation", "a positive number", regularisation)
    step = 2 * changed * largest_norm / regularisation
    return _CURVATURE_SLOPE / 2 * rows * largest_norm**3 * step**2


def certified_sigma(residual: float, epsilon: float, delta: float) -> float:
    """Returns the standard deviation of the noise that hides a residual: `r c / epsilon`.

    Args:
        residual: Largest residual norm `r` to be hidden.
        epsilon: In (0, 1].
        delta: In (0, 1).

    Raises:
        InputError: If a value is out of range.
    """
    _at_least_zero("residual", residual)
    return residual * _constant(delta) / _check_epsilon(epsilon)


def residual_budget(sigma: float, epsilon: float, delta: float) -> float:
    """Returns the largest residual that noise hides: `sigma epsilon / c`.

    Args:
        sigma: Standard deviation of the noise of the fit.
        epsilon: In (0, 1].
        delta: In (0, 1).

    Raises:
        InputError: If a value is out of range.
    """
    _at_least_zero("sigma", sigma)
    return sigma * _check_epsilon(epsilon) / _constant(delta)


def reached_epsilon(residual: float, sigma: float, delta: float) -> float:
    """Returns `r c / sigma`; above 1 (or infinite, without noise) the theorem does not apply.

    Args:
        residual: Residual norm `r`.
        sigma: Standard deviation of the noise of the fit.
        delta: In (0, 1).

    Raises:
        InputError: If a value is out of range.
    """
    _at_least_zero("residual", residual)
    _at_least_zero("sigma", sigma)
    if sigma == 0:
        return math.inf if residual else 0.0
    return residual * _constant(delta) / sigma


def certify(residual: float, *, sigma: float, epsilon: float, delta: float) -> Certificate:
    """Compares a residual with what the noise of the fit hides.

    Args:
        residual: Measured, or a bound; see the three numbers at the top of this module.
        sigma: Standard deviation of the noise that the model was fitted with.
        epsilon: Wanted, in (0, 1].
        delta: Wanted, in (0, 1).

    Returns:
        The certificate. Where it does not hold, retrain; drawing larger noise afterwards certifies nothing.

    Raises:
        InputError: If a value is out of range.
    """
    budget = residual_budget(sigma, epsilon, delta)
    return Certificate(residual, budget, reached_epsilon(residual, sigma, delta), delta, residual <= budget)


def _solve(hessian: np.ndarray, vector: np.ndarray) -> np.ndarray:
    return scipy.linalg.solve(hessian, vector, assume_a="pos")


def _constant(delta: float) -> float:
    if not 0 < delta < 1:
        raise invalid("delta", "a float in (0, 1)", delta)
    return math.sqrt(2 * math.log(1.5 / delta))


def _check_epsilon(epsilon: float) -> float:
    # The Gaussian mechanism behind the theorem is proved for epsilon up to 1; far above, its formula is wrong.
    if not 0 < epsilon <= 1:
        raise invalid("epsilon", "a float in (0, 1]", epsilon)
    return epsilon


def _at_least_zero(name: str, value: float) -> None:
    if not 0 <= value < math.inf:
        raise invalid(name, "a number of at least 0", value)


def _check_labels(labels: np.ndarray) -> None:
    found = np.unique(labels)
    if not np.isin(found, (-1, 1)).all():
        raise invalid("labels", "-1 and 1 only", found)


def _finite(name: str, values: np.ndarray) -> np.ndarray:
    try:
        array = np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise invalid(name, "an array of numbers", type(values).__name__) from error
    if not np.isfinite(array).all():
        raise invalid(name, "finite numbers", "NaN or infinity")
    return array
