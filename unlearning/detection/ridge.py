"""Ridge regression with the leave-one-out predictions of all rows at once, for many penalties.

For standardised features `Z` `(n, d)`, centred one-hot targets `Y` and `Z^T Z = V diag(s) V^T`, the fit with penalty
`lambda` and an unpenalised intercept has the hat-matrix diagonal

    h_i = 1/n + sum_j (Z V)_ij^2 / (s_j + lambda),

and the prediction of row `i` by the fit without it is `(yhat_i - h_i y_i) / (1 - h_i)` (Allen's PRESS, Technometrics
16, 1974). One eigendecomposition serves every penalty; no fold is ever fitted.

That decomposition is half of the time, and takes half as long in single precision. Its rounding adds up to some
`eps max(s)` to the spectrum, which does not matter to a penalty well above it; where the one that is chosen is not, all
is done again in double precision.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from scipy.linalg import eigh
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from unlearning.errors import InputError
from unlearning.progress import progress_bar

_BLOCK = 1024  # rows turned into eigenvector coordinates at a time
_ROUNDED = 10  # times the rounding of the largest eigenvalue: penalties above it do not notice

_Decomposition = tuple[np.ndarray, np.ndarray, Callable[[slice], np.ndarray]]


@dataclasses.dataclass(frozen=True, eq=False)
class LeaveOneOut:
    """Predictions of every row by a fit that never saw it.

    Attributes:
        predictions: float64 `(rows, K)`: approximate class indicators, neither positive nor normalised.
        penalty: The one of least squared leave-one-out error, in units of the number of rows.
        errors: Mean squared leave-one-out error by penalty.
    """

    predictions: np.ndarray
    penalty: float
    errors: dict[float, float]


def leave_one_out(
    features: np.ndarray,
    labels: np.ndarray,
    num_classes: int,
    penalties: Sequence[float],
    targets: np.ndarray | None = None,
) -> LeaveOneOut:
    """Fits class indicators by ridge regression and predicts every row without itself.

    Args:
        features: float array `(rows, d)`; it is standardised in place.
        labels: The given labels, `(rows,)`.
        num_classes: Number of classes `K`.
        penalties: Candidates, in units of the number of rows.
        targets: What to fit instead of indicators of the labels, float64 `(rows, K)`; it is left alone.

    Returns:
        The predictions under the penalty of least leave-one-out error.

    Raises:
        InputError: If features are not finite or there are fewer than three rows.
    """
    rows = len(labels)
    if rows < 3:
        raise InputError("labels", "at least three rows", rows)
    features -= features.mean(axis=0, dtype=np.float64).astype(features.dtype)
    spread = features.std(axis=0, dtype=np.float64)
    features /= np.where(spread > 1e-8 * max(float(spread.max()), 1e-30), spread, np.inf).astype(features.dtype)
    if not np.isfinite(features).all():
        raise InputError("features", "finite numbers", "NaN or infinity")
    targets = np.eye(num_classes)[labels] if targets is None else targets
    mean = targets.mean(axis=0)
    candidates = rows * np.asarray(penalties, dtype=np.float64)
    for precision in dict.fromkeys((features.dtype, np.dtype(np.float64))):
        fitted, largest = _fit(features, targets - mean, candidates, precision)
        errors = [float(np.square(one - (targets - mean)).mean()) for one in fitted]
        best = int(np.argmin(errors))
        if candidates[best] > _ROUNDED * np.finfo(precision).eps * largest:
            break
    by_unit = dict(zip(penalties, errors, strict=True))
    return LeaveOneOut(fitted[best] + mean, float(candidates[best]) / rows, by_unit)


def _fit(
    features: np.ndarray, targets: np.ndarray, penalties: np.ndarray, precision: np.dtype
) -> tuple[np.ndarray, float]:
    """Returns leave-one-out predictions `(penalties, rows, K)`, and the largest eigenvalue of `Z^T Z`."""
    rows, classes = targets.shape
    blocks = [slice(start, start + _BLOCK) for start in range(0, rows, _BLOCK)]
    decompose = _by_rows if features.shape[1] > rows else _by_columns
    spectrum, turned, coordinates_of = decompose(features, targets, blocks, precision)
    shrunk = 1 / (spectrum[:, np.newaxis] + penalties)
    slopes = (shrunk[:, :, np.newaxis] * turned[:, np.newaxis]).reshape(len(spectrum), -1)
    fitted = np.empty((len(penalties), rows, classes))
    for block in progress_bar(blocks, description="leaving one out", unit="block"):
        coordinates = coordinates_of(block)
        inside = (coordinates @ slopes).reshape(-1, len(penalties), classes).swapaxes(0, 1)
        leverage = 1 / rows + np.square(coordinates, out=coordinates) @ shrunk
        left = np.maximum(1 - leverage, 1e-6).T[:, :, np.newaxis]  # a row that alone spans a direction has none left
        # `left` takes out the row's share in the slopes and in the mean of the targets alike.
        fitted[:, block] = targets[block] - (targets[block] - inside) / left
    return fitted, float(spectrum.max())


def _by_columns(
    features: np.ndarray, targets: np.ndarray, blocks: Sequence[slice], precision: np.dtype
) -> _Decomposition:
    """The spectrum `s` of `Z^T Z`, then `(Z V)^T Y`, and `Z V` for any block of rows."""
    columns = features.shape[1]
    moment, cross = np.zeros((columns, columns)), np.zeros((columns, targets.shape[1]))
    for block in progress_bar(blocks, description="products of features", unit="block"):
        values = features[block].astype(precision, copy=False)
        moment += values.T @ values
        cross += values.T @ targets[block]
    spectrum, vectors = eigh(moment.astype(precision, copy=False), overwrite_a=True, driver="evd")
    basis = vectors.astype(features.dtype, copy=False)
    turned = vectors.T.astype(np.float64) @ cross
    return np.maximum(spectrum, 0.0), turned, lambda block: (features[block] @ basis).astype(np.float64)


def _by_rows(features: np.ndarray, targets: np.ndarray, blocks: Sequence[slice], precision: np.dtype) -> _Decomposition:
    """The same from `Z Z^T = U diag(s) U^T`, where `Z V = U diag(s)^(1/2)`: cheaper with fewer rows than features."""
    values = features.astype(precision, copy=False)
    spectrum, vectors = eigh(values @ values.T, overwrite_a=True, driver="evd")
    spectrum = np.maximum(spectrum, 0.0).astype(np.float64)
    coordinates = vectors * np.sqrt(spectrum)
    return spectrum, coordinates.T @ targets, lambda block: coordinates[block].copy()


def calibrate(predictions: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Turns class scores into probabilities by the one temperature under which the labels are most likely.

    Args:
        predictions: Scores `(rows, K)` of rows that the fit has not seen.
        labels: Their given labels.

    Returns:
        float64 `(rows, K)`; rows sum to one. (Guo et al., "On Calibration of Modern Neural Networks", ICML 2017.)
    """
    chosen = np.arange(len(labels))

    def loss(log_scale: float) -> float:
        return -float(log_softmax(predictions * np.exp(log_scale), axis=1)[chosen, labels].mean())

    scale = np.exp(minimize_scalar(loss, bounds=(-5, 7), method="bounded").x)
    return np.exp(log_softmax(predictions * scale, axis=1))
