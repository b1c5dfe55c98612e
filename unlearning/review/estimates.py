"""Shares among all rows, from answers on a stratified sample.

The share is estimated by the sum over strata `W_h k_h / n_h`, where `W_h` is a stratum's part of the rows and `k_h` of
`n_h` answers say yes. Its interval joins intervals `(l_h, u_h)` of the strata by the squares of what they leave on
either side (MOVER):

    L = p - sqrt(sum_h W_h^2 (p_h - l_h)^2),   U = p + sqrt(sum_h W_h^2 (u_h - p_h)^2).

Unlike `p +- 2 standard errors` it does not shrink to nothing where all answers of a stratum agree, which is the rule
where a detector is good. The intervals of the strata are those of Clopper and Pearson, which hold the truth in at least
95 of 100 cases for shares of any size; shorter ones (Wilson's) miss it too often where one row in a hundred is wrong.
They are about the `N - n` rows of a stratum that were not asked about, whose share differs from that of the answers by
two draws, `1 / n' = 1 / n + 1 / (N - n)`: a stratum that was asked about to its last row has no doubt left. Where fewer
rows are left than were asked about, a few single ones decide, and whatever they may be is added, not its square.

Clopper and Pearson, Biometrika 26, 1934; Zou and Donner, Statistics in Medicine 27, 2008 (the squares).
`tests/review/test_estimates.py` simulates audits and counts how often the interval holds the truth.

Example:
    >>> share = estimate_share(yes=np.array([18, 1]), asked=np.array([20, 30]), sizes=np.array([2000, 8000]))
    >>> round(share.value, 3), round(share.low, 3), round(share.high, 3)
    (0.207, 0.156, 0.319)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

_TAIL = 0.025


class Interval(NamedTuple):
    """An estimated share with its 95 % interval.

    Attributes:
        value: The estimate, in [0, 1].
        low: The lower end.
        high: The upper end.
    """

    value: float
    low: float
    high: float


def stratum_intervals(yes: np.ndarray, asked: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the lower and upper ends of the 95 % intervals of the share in each stratum.

    Args:
        yes: Answers that say yes, `(strata,)`.
        asked: All answers, at least one each.
        sizes: Rows that they were drawn from, without replacement.

    Returns:
        Two float64 arrays `(strata,)`; where all rows were asked about, both are the share itself.
    """
    from scipy.special import betaincinv

    left = sizes - asked
    answers = asked * left / sizes
    agreeing, others = yes / asked * answers, (asked - yes) / asked * answers
    low, high = np.zeros(len(yes)), np.ones(len(yes))
    some, not_all = agreeing > 0, others > 0
    low[some] = betaincinv(agreeing[some], others[some] + 1, _TAIL)
    high[not_all] = betaincinv(agreeing[not_all] + 1, others[not_all], 1 - _TAIL)
    # Of the rows that are left a whole number says yes.
    return (yes + np.floor(left * low)) / sizes, (yes + np.ceil(left * high)) / sizes


def estimate_share(yes: np.ndarray, asked: np.ndarray, sizes: np.ndarray) -> Interval:
    """Estimates the share of rows for which the answer would be yes.

    Args:
        yes: Answers that say yes, `(strata,)`.
        asked: All answers; a stratum without any is left out, as if it were like the others.
        sizes: Rows of each stratum.

    Returns:
        The share with its interval; without any answer all is possible.
    """
    seen = (np.asarray(asked) > 0) & (np.asarray(sizes) > 0)
    if not seen.any():
        return Interval(0.5, 0.0, 1.0)
    yes, asked, sizes = (np.asarray(values, dtype=np.float64)[seen] for values in (yes, asked, sizes))
    weights, shares = sizes / sizes.sum(), yes / asked
    low, high = stratum_intervals(yes, asked, sizes)
    value, few = float(weights @ shares), sizes < 2 * asked

    def leeway(ends: np.ndarray) -> float:
        apart = weights * np.abs(ends - shares)
        return float(apart[few].sum() + np.sqrt(np.sum(apart[~few] ** 2)))

    return Interval(value, max(0.0, value - leeway(low)), min(1.0, value + leeway(high)))
