"""Where the cut between suspects and others should be, by a few answers.

The chance that a row is wrong is a logistic curve of its rank: `logit P = a + b z`, where `z` is the normal quantile of
the rank of its score, so that it does not matter in which unit a detector scores. The two numbers are fitted to the
answers under Firth's penalty, which keeps them finite where right and wrong answers do not overlap, the rule among
fifty. Every cut then has an expected F1, `2 sum_{above} P / (rows above + sum P)`, and the best one is proposed.

It is taken only where the answers clearly speak for it: of curves drawn around the fitted one, as far away as so few
answers leave room for, `MOST` must find it better than the cut that is there, and the mean gain in F1 must be
`CLEARLY`. Fifty answers place a cut within a few percent of the rows; one that is good already would only be shaken.

Firth, Biometrika 80, 1993.

Example:
    >>> scores = np.arange(1000.0)
    >>> asked = np.arange(0, 1000, 20)
    >>> bool(move_cut(scores, np.arange(950, 1000), asked, wrong=asked >= 700).suspects[0] < 750)
    True
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

MOST, CLEARLY = 0.9, 0.03
"""A cut is moved where so many curves find the new one better, and F1 grows by so much."""
_CURVES, _STEPS, _FEWEST = 200, 50, 4


class Cut(NamedTuple):
    """A cut by answers.

    Attributes:
        suspects: Row numbers above it, ascending.
        threshold: The score of the last of them; None where the cut stays.
        moved: Whether they are others than before.
        f1_before: Expected F1 of the suspects as they were; None where the answers do not suffice for a curve.
        f1_after: Expected F1 of these.
    """

    suspects: np.ndarray
    threshold: float | None
    moved: bool
    f1_before: float | None
    f1_after: float | None


def move_cut(scores: np.ndarray, suspects: np.ndarray, asked: np.ndarray, wrong: np.ndarray) -> Cut:
    """Moves the cut to where a few answers say it should be.

    Args:
        scores: Higher is more suspicious, float64 `(rows,)`.
        suspects: The detector's suspects.
        asked: Row numbers that were asked about, `(answers,)`.
        wrong: Whether their given labels are wrong, boolean `(answers,)`.

    Returns:
        The cut; the suspects stay where the answers do not clearly speak for others.
    """
    suspects = np.sort(suspects)
    if min(np.count_nonzero(wrong), np.count_nonzero(~wrong)) < _FEWEST:
        return Cut(suspects, None, False, None, None)
    z = _normal_ranks(scores)
    fitted, spread = fit_logistic(z[asked], wrong)
    order = np.argsort(-scores, kind="stable")
    chances = _curve(z[order], *fitted)
    f1 = 2 * np.cumsum(chances) / (np.arange(1, len(scores) + 1) + chances.sum())
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)  # equal scores stay together
    best = int(ends[np.argmax(f1[ends])])
    called = np.zeros(len(scores), dtype=bool)
    called[suspects] = True
    called = called[order]
    gains = []
    for a, b in np.random.default_rng(0).multivariate_normal(fitted, spread, _CURVES, method="eigh"):
        drawn = _curve(z[order], a, max(b, 0.0))
        total = drawn.sum()
        before = 2 * drawn[called].sum() / (called.sum() + total)
        gains.append(2 * drawn[: best + 1].sum() / (best + 1 + total) - before)
    before = float(2 * chances[called].sum() / (called.sum() + chances.sum()))
    if np.mean(np.array(gains) > 0) < MOST or np.mean(gains) < CLEARLY:
        return Cut(suspects, None, False, before, before)
    return Cut(np.sort(order[: best + 1]), float(scores[order[best]]), True, before, float(f1[best]))


def fit_logistic(z: np.ndarray, wrong: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fits `logit P = a + b z` by Firth's penalised likelihood.

    Args:
        z: The variable, `(answers,)`.
        wrong: What happened, boolean `(answers,)`.

    Returns:
        `(a, b)` and the matrix of their covariances.
    """
    design = np.stack([np.ones_like(z), z], axis=1)
    happened = wrong.astype(np.float64)
    beta = np.zeros(2)
    for _ in range(_STEPS):
        chance = _curve(z, *beta)
        weight = np.maximum(chance * (1 - chance), 1e-9)
        inverse = np.linalg.pinv(design.T @ (weight[:, None] * design))
        leverage = weight * np.einsum("ij,jk,ik->i", design, inverse, design)
        step = inverse @ (design.T @ (happened - chance + leverage * (0.5 - chance)))
        beta = beta + step * min(1.0, 2.0 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < 1e-8:
            break
    return beta, inverse


def _curve(z: np.ndarray, a: float, b: float) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(a + b * z, -40, 40)))


def _normal_ranks(scores: np.ndarray) -> np.ndarray:
    from scipy.special import ndtri
    from scipy.stats import rankdata

    return ndtri((rankdata(scores) - 0.5) / len(scores))
