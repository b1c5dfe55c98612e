"""Exposure: how much a model gives away of a secret, in bits.

With `R` all secrets there could be, and `P` the log-perplexity that the model gives one behind its sentence,

    P(s) = - sum_i log2 p(s_i | sentence, s_1 ... s_{i-1}),
    exposure(s) = log2 |R| - log2 rank(s),

where the rank is the place of `s` among all of `R` by rising `P` (Carlini et al., USENIX Security 2019, definition 5).
A secret that is the likeliest of all has `log2 |R|` bits; one that the model has never seen has about one bit, whatever
`R`: half of all secrets have no more.

The rank is counted exactly where that takes few enough predictions. Secrets are followed digit by digit, and a
beginning that costs as much as the whole secret is given up, so that little is left to follow where the secret is known
by heart. Otherwise `P` of secrets drawn at random is taken for skew normal (section 4.4 there), and

    exposure(s) = - log2 Pr(P <= P(s)).

Example:
    >>> found = measure_exposure(lambda windows: np.full((len(windows), 53), 1 / 53), "`my number is ", "31", length=8)
    >>> found.how, found.rank, found.bits == found.most
    ('exact', 1, True)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from unlearning.experiments.memorisation.book import encode
from unlearning.experiments.memorisation.words import DIGITS
from unlearning.streams import stream

Predict = Callable[[np.ndarray], np.ndarray]
"""From windows, int32 `(rows, length)`, to probabilities of what follows, `(rows, characters)`."""

_TINY = np.finfo(np.float64).tiny


@dataclasses.dataclass(frozen=True)
class Exposure:
    """How exposed a secret is.

    Attributes:
        bits: The exposure.
        most: The exposure of a secret that is the likeliest of all.
        log_perplexity: `P` of the secret, in bits.
        how: `"exact"` or `"estimated"`.
        rank: The rank, from 1; None where the exposure is estimated.
    """

    bits: float
    most: float
    log_perplexity: float
    how: str
    rank: int | None


def measure_exposure(
    predict: Predict,
    before: str,
    secret: str,
    *,
    length: int,
    most_rows: int = 200_000,
    samples: int = 2000,
    seed: int = 0,
) -> Exposure:
    """Measures the exposure of a secret.

    Args:
        predict: What the model says.
        before: What stands in front of the secret, at least `length` characters.
        secret: Its digits.
        length: Characters of a window.
        most_rows: Most windows that are predicted for an exact rank.
        samples: Secrets drawn for an estimate.
        seed: Seed of these.

    Returns:
        What was found.
    """
    most = len(secret) * np.log2(len(DIGITS))
    start, digits = encode(before), encode(DIGITS)
    own = encode(secret)
    cost = float(log_perplexities(predict, before, own[np.newaxis], length=length)[0])
    known, costs, rows = np.empty((1, 0), np.int32), np.zeros(1), 0
    for _ in range(len(secret)):
        rows += len(known)
        if rows > most_rows:
            return _estimate(predict, before, cost, most, len(secret), length, samples, seed)
        further = costs[:, np.newaxis] + _costs(predict(_behind(start, known, length)))[:, digits]
        which, digit = np.nonzero(further <= cost)
        costs = further[which, digit]
        known = np.column_stack([known[which], digits[digit]]).astype(np.int32)
    likelier = int(np.count_nonzero((costs < cost) & (known != own).any(axis=1)))
    return Exposure(float(most - np.log2(1 + likelier)), float(most), cost, "exact", 1 + likelier)


def log_perplexities(predict: Predict, before: str, secrets: np.ndarray, *, length: int) -> np.ndarray:
    """Returns the log-perplexity of secrets in bits, float64 `(secrets,)`.

    Args:
        predict: What the model says.
        before: What stands in front of them.
        secrets: Their characters' numbers, int32 `(secrets, digits)`.
        length: Characters of a window.
    """
    start, total = encode(before), np.zeros(len(secrets))
    for place in range(secrets.shape[1]):
        # Many secrets begin alike, and what is said of a beginning is asked once.
        known, which = np.unique(secrets[:, :place], axis=0, return_inverse=True)
        costs = _costs(predict(_behind(start, known, length)))
        total += costs[which.reshape(-1), secrets[:, place]]
    return total


def draw_secrets(count: int, digits: int, seed: int) -> np.ndarray:
    """Draws secrets: their characters' numbers, int32 `(count, digits)`.

    Args:
        count: How many.
        digits: Digits of each.
        seed: Seed.

    Returns:
        The secrets, with repetitions.
    """
    return encode(DIGITS)[stream(seed, "canaries", "others").integers(len(DIGITS), size=(count, digits))]


def _estimate(
    predict: Predict, before: str, cost: float, most: float, digits: int, length: int, samples: int, seed: int
) -> Exposure:
    """The exposure by the skew normal distribution that is fitted to secrets drawn at random."""
    from scipy.stats import skewnorm

    others = log_perplexities(predict, before, draw_secrets(samples, digits, seed), length=length)
    log_share = float(skewnorm.logcdf(cost, *skewnorm.fit(others))) / np.log(2)
    return Exposure(float(np.clip(-log_share, 0.0, most)), float(most), cost, "estimated", None)


def _behind(start: np.ndarray, known: np.ndarray, length: int) -> np.ndarray:
    """The windows that end behind beginnings of secrets, `(beginnings, length)`."""
    sentence = np.broadcast_to(start, (len(known), len(start)))
    return np.concatenate([sentence, known], axis=1)[:, -length:].astype(np.int32)


def _costs(probabilities: np.ndarray) -> np.ndarray:
    return -np.log2(np.maximum(probabilities, _TINY))
