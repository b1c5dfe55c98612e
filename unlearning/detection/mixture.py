"""Two Gaussians on one score a row, and the line between them.

The published loss mixtures (DivideMix, ICLR 2020, and its followers) fit two components to the training losses and take
the rows of the higher one for mislabelled. Two Gaussians can be fitted to anything, though: `separation` tells whether
there are two groups at all, and `boundary` keeps the rule monotone in the score.
"""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

import numpy as np

from unlearning.streams import stream_seed


@dataclasses.dataclass(frozen=True)
class Mixture:
    """Two Gaussians in the unit of the scores, the one of lower mean first.

    Attributes:
        means: Of the components.
        variances: Of the components.
        weights: Of the components; they sum to one.
        converged: Whether EM met its tolerance.
        iterations: EM iterations.
    """

    means: tuple[float, float]
    variances: tuple[float, float]
    weights: tuple[float, float]
    converged: bool
    iterations: int

    @property
    def separation(self) -> float:
        """Distance of the means in pooled standard deviations, `sqrt(sum_k weight_k * variance_k)`."""
        pooled = np.sqrt(np.dot(self.weights, self.variances))
        return float((self.means[1] - self.means[0]) / pooled)

    def posterior(self, scores: np.ndarray) -> np.ndarray:
        """Returns the probability of the higher-mean component given the score, same shape as `scores`."""
        from scipy.special import expit
        from scipy.stats import norm

        low, high = (
            np.log(weight) + norm.logpdf(scores, mean, np.sqrt(variance))
            for mean, variance, weight in zip(self.means, self.variances, self.weights, strict=True)
        )
        return expit(high - low)

    def boundary(self, scores: np.ndarray, threshold: float) -> float | None:
        """Returns the lowest score above the lower mean at which the posterior passes a threshold.

        Components of unequal width cross twice. Beyond the second crossing the posterior turns back, so that the very
        lowest (or highest) scores would change sides; taking one crossing keeps "higher is more suspicious" true.

        Args:
            scores: The scores that were fitted, `(rows,)`.
            threshold: Of the posterior, in (0, 1).

        Returns:
            The boundary, or None if the posterior of no score above the lower mean passes.
        """
        from scipy.optimize import brentq

        start = self.means[0]
        points = np.append(start, np.unique(scores[scores > start]))
        above = self.posterior(points) > threshold
        if not above.any():
            return None
        first = int(np.argmax(above))
        if first == 0:
            return start
        return float(brentq(lambda x: float(self.posterior(x)) - threshold, points[first - 1], points[first]))

    def describe(self) -> dict[str, Any]:
        """Returns the fields and the separation as JSON-ready values."""
        values = dataclasses.asdict(self) | {"separation": self.separation}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}


def fit_mixture(
    scores: np.ndarray,
    *,
    normalise: bool = True,
    max_iter: int = 10,
    tol: float = 1e-2,
    reg_covar: float = 5e-4,
    seed: int = 0,
) -> Mixture:
    """Fits two Gaussians by EM from a k-means start (scikit-learn).

    Args:
        scores: float64 `(rows,)`, finite, not all equal.
        normalise: Fit on scores shifted and scaled to [0, 1]; the published default. It matters for `tol` and
            `reg_covar`, which are in the unit of what is fitted. The returned numbers are in the unit of `scores`.
        max_iter: Most EM iterations; the published 10.
        tol: Least gain in mean log-likelihood an iteration; the published 0.01.
        reg_covar: Added to the variances; the published 5e-4.
        seed: Seed of the k-means start.

    Returns:
        The mixture.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    low, high = float(scores.min()), float(scores.max())
    shift, scale = (low, high - low) if normalise else (0.0, 1.0)
    start = stream_seed(seed, "detector", "mixture")
    model = GaussianMixture(2, max_iter=max_iter, tol=tol, reg_covar=reg_covar, random_state=start)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # ten iterations are the published rule; it is recorded
        model.fit(((scores - shift) / scale)[:, np.newaxis])
    means, variances = model.means_.ravel() * scale + shift, model.covariances_.ravel() * scale**2
    first, second = np.argsort(means)
    return Mixture(
        means=(float(means[first]), float(means[second])),
        variances=(float(variances[first]), float(variances[second])),
        weights=(float(model.weights_[first]), float(model.weights_[second])),
        converged=bool(model.converged_),
        iterations=int(model.n_iter_),
    )
