"""Who is mistaken for whom: a transition matrix estimated by EM from class probabilities and the given labels alone.

Let `q_i` be what a classifier that has not seen row `i` says of its true class, and `T[j, k]` the share of class `j`
that carries the label `k`. Then the given labels `y` are explained by

    P(y_i) = sum_j q_ij T[j, y_i],      r_ij = q_ij T[j, y_i] / P(y_i)    (the posterior of the true class),

and EM alternates `r` with `T[j, k] = sum_i r_ij [y_i = k] / sum_i r_ij` (Dawid and Skene, Applied Statistics 28, 1979,
with one annotator and a classifier as the prior; the matrix of Patrini et al., CVPR 2017, without anchor points).

Two things are fitted beside it, by the same likelihood. A classifier that was trained on wrong labels predicts wrong
labels, `q T` in place of `q`: its scores, linear in their targets as those of a ridge regression are, are multiplied by
the inverse of (a mixture of the identity and) `T`. And the scores become probabilities by a matrix `W` and a vector,
`q = softmax(L W + b)`, near to one scale for all. As every row's scores come from a fit without it, the likelihood is
one of labels not seen, and decides how much is unmixed.

**Which structure there is** is told from that likelihood, too. Against a matrix with one rate for all pairs,

- `uniform`: the matrix gains no more than its number of parameters (Akaike's criterion), or
- `structured`: it gains more than Schwarz's criterion asks for, and what goes wrong in a class goes to few others (the
  exponential of the entropy of the wrong shares). Then rows are ranked by their posterior under `T`.
- `confusable` is what lies between: classes are mistaken for those that look alike, as people do. There `T` mixes the
  doubt of the classifier with the mistakes of people, and ranking by it harms; it only frees `q` from them.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import numpy as np
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, logit, softmax
from scipy.stats import rankdata

from unlearning.detection.scoring import log_odds
from unlearning.progress import pulse

Structure = Literal["uniform", "confusable", "structured"]

_UNMIXED = (0.0, 0.35, 0.7)  # how much of the wrong labels the scores are freed from; all of it amplifies errors
_ROUNDS = 5  # of unmixing by the matrix of the round before
_STEPS = 10  # of EM a round
_NEAR = 1e-4  # pulls W to one scale for all classes; the likelihood is a mean over rows
_MOST_PAIRS = 50
_MOST_CLASSES = 200
_START = 0.8  # share of right labels that EM starts from
_SURE = 0.5  # share of the rows, the surest, in which disagreement is the label's fault and not the classifier's


@dataclasses.dataclass(frozen=True, eq=False)
class Transition:
    """What explains the given labels.

    Attributes:
        classes: float64 `(rows, K)`: probabilities of the true class, from what others than the row say.
        posterior: float64 `(rows, K)`: the same, with the row's given label.
        known: float64 `(rows, K)`: the posterior, and of rows of which something is known, that.
        matrix: float64 `(K, K)`: share of a true class (row) that carries a label (column).
        structure: See the module.
        gain: Log-likelihood a row that the matrix gains over one rate for all pairs, in nats.
        spread: To how many classes the wrong labels of a class go, on average.
        share: Estimated share of wrong labels, in [0, 1].
    """

    classes: np.ndarray
    posterior: np.ndarray
    known: np.ndarray
    matrix: np.ndarray
    structure: Structure
    gain: float
    spread: float
    share: float

    @property
    def judging(self) -> np.ndarray:
        """The probabilities by which the structure says to judge, float64 `(rows, K)`."""
        return self.posterior if self.structure == "structured" else self.classes

    def scores(self, labels: np.ndarray) -> np.ndarray:
        """Returns log-odds against the given labels, float64 `(rows,)`."""
        return log_odds(self.judging, labels)

    def suggested(self) -> np.ndarray:
        """Returns the likeliest class of every row, int64 `(rows,)`."""
        return self.judging.argmax(axis=1)

    def describe(self, labels: np.ndarray) -> dict[str, Any]:
        """Returns structure, gain and spread, and the pairs of classes with most wrong labels, as JSON-ready values."""
        counts = self.known.T @ np.eye(len(self.matrix))[labels]
        np.fill_diagonal(counts, 0)
        order = np.argsort(-counts, axis=None, kind="stable")[:_MOST_PAIRS]
        pairs = [
            {"true": int(true), "given": int(given), "rows": round(float(counts[true, given]), 1)}
            for true, given in zip(*np.unravel_index(order, counts.shape), strict=True)
            if counts[true, given] >= 0.5
        ]
        return {"structure": self.structure, "gain": self.gain, "spread": self.spread, "pairs": pairs}


def can_estimate(rows: int, classes: int) -> bool:
    """Whether there are enough rows for a matrix, and few enough classes for the time that it takes."""
    return classes**2 <= rows and classes <= _MOST_CLASSES


def estimate_transition(
    probabilities: np.ndarray, labels: np.ndarray, possible: np.ndarray | None = None
) -> Transition:
    """Estimates what explains the given labels.

    Args:
        probabilities: Of the classes, `(rows, K)`, of every row by what has not seen it.
        labels: The given labels, int64 `(rows,)`.
        possible: Which classes may be the true one, boolean `(rows, K)`: what is known of some rows; None for nothing.

    Returns:
        The estimate.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> true = rng.integers(0, 3, 3000)
        >>> said = softmax(3 * np.eye(3)[true] + rng.normal(0, 0.7, (3000, 3)), axis=1)
        >>> given = np.where((true == 0) & (rng.random(3000) < 0.3), 1, true)
        >>> found = estimate_transition(said, given)
        >>> found.structure, bool(abs(found.matrix[0, 1] - 0.3) < 0.05)
        ('structured', True)
    """
    rows, classes = probabilities.shape
    scores = _as_indicators(probabilities, labels)
    fit = _Fit(scores, labels, np.ones((rows, classes)) if possible is None else possible.astype(np.float64))
    start, matrix, first = fit.unmix()
    weights, bias, matrix = fit.refine(start, np.zeros(classes), matrix)
    q, posterior, likelihood = fit.explain(weights, bias, matrix)
    flat, flat_bias, level = fit.refine(fit.scale * np.eye(classes), np.zeros(classes), fit.level(_START), one=True)
    plain = max(fit.explain(flat, flat_bias, level)[2], fit.level_at(weights, bias, matrix))
    gain, more = likelihood - plain, classes * (classes - 1) - 1
    wrong = posterior.T @ fit.given
    np.fill_diagonal(wrong, 0)
    spread = _spread(wrong)
    structure: Structure = "confusable"
    if gain * rows <= more:
        structure = "uniform"
    elif gain > more * np.log(rows) / (2 * rows) and spread < 1 + (classes - 1) / 8:
        structure = "structured"
    share = _share(posterior, labels)
    if structure == "confusable":
        share = max(share, fit.share_by_doubt(*first))
    joint = q * matrix.T[labels]
    free = joint / np.maximum(joint.sum(axis=1, keepdims=True), 1e-300)
    return Transition(q, free, posterior, matrix, structure, float(gain), spread, share)


class _Fit:
    """The rows and their labels, and what is maximised over them."""

    def __init__(self, scores: np.ndarray, labels: np.ndarray, possible: np.ndarray) -> None:
        self.scores, self.labels, self.possible = scores, labels, possible
        self.rows, self.classes = scores.shape
        self.given = np.eye(self.classes)[labels]
        self.scale = 1.0

    def level(self, right: float) -> np.ndarray:
        """The matrix with one rate for all pairs."""
        matrix = np.full((self.classes, self.classes), (1 - right) / (self.classes - 1))
        np.fill_diagonal(matrix, right)
        return matrix

    def weigh(self, q: np.ndarray, matrix: np.ndarray) -> tuple[np.ndarray, float]:
        """The posterior, and the mean log-likelihood."""
        pulse()
        joint = q * matrix.T[self.labels] * self.possible
        total = np.maximum(joint.sum(axis=1, keepdims=True), 1e-300)
        return joint / total, float(np.log(total).mean())

    def explain(
        self, weights: np.ndarray, bias: np.ndarray, matrix: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, float]:
        """Probabilities, posterior and mean log-likelihood of a fit."""
        q = softmax(self.scores @ weights + bias, axis=1)
        return q, *self.weigh(q, matrix)

    def update(self, posterior: np.ndarray) -> np.ndarray:
        """The matrix that explains posteriors best; one row in all is added as a prior."""
        counts = posterior.T @ self.given + 1 / self.classes**2
        return counts / counts.sum(axis=1, keepdims=True)

    def unmix(self) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray]]:
        """EM under one scale, from scores that are unmixed more and more; the likeliest of all rounds.

        Returns:
            `W` and the matrix of that round, and probabilities and matrix of the likeliest one that unmixes nothing.
        """
        best, plain = None, None
        for amount in _UNMIXED:
            matrix = self.level(_START)
            inverse: np.ndarray = np.eye(self.classes)
            for _ in range(_ROUNDS):
                turned = self.scores @ inverse
                for step in range(_STEPS):
                    if step % 5 == 0:
                        scale = self._scale(turned, matrix)
                        q = softmax(scale * turned, axis=1)
                    matrix = self.update(self.weigh(q, matrix)[0])
                likelihood = self.weigh(q, matrix)[1]
                if best is None or likelihood > best[0]:
                    best = (likelihood, scale * inverse, matrix)
                if not amount and (plain is None or likelihood > plain[0]):
                    plain = (likelihood, q, matrix, scale)
                if amount:
                    inverse = np.linalg.pinv((1 - amount) * np.eye(self.classes) + amount * matrix)
        assert best is not None and plain is not None
        self.scale = plain[3]
        return best[1], best[2], (plain[1], plain[2])

    def _scale(self, turned: np.ndarray, matrix: np.ndarray) -> float:
        def loss(log_scale: float) -> float:
            return -self.weigh(softmax(np.exp(log_scale) * turned, axis=1), matrix)[1]

        return float(np.exp(minimize_scalar(loss, bounds=(-3, 6), method="bounded", options={"xatol": 0.02}).x))

    def refine(
        self, weights: np.ndarray, bias: np.ndarray, matrix: np.ndarray, *, one: bool = False
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Climbs from a fit by quasi-Newton steps, with a matrix of its own or with `one` rate for all pairs."""
        square, near = self.classes**2, weights

        def opened(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            rates = values[square + self.classes :]
            made = self.level(float(expit(rates[0]))) if one else softmax(rates.reshape(self.classes, -1), axis=1)
            return values[:square].reshape(self.classes, -1), values[square : square + self.classes], made

        def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
            turn, shift, made = opened(values)
            q, posterior, likelihood = self.explain(turn, shift, made)
            error = posterior - q
            counts = posterior.T @ self.given
            if one:
                rates = np.array([np.trace(counts) - self.rows * made[0, 0]])
            else:
                rates = (counts - made * counts.sum(axis=1, keepdims=True)).ravel()
            away = turn - near
            slope = np.concatenate(
                [(self.scores.T @ error).ravel() - _NEAR * self.rows * away.ravel(), error.sum(0), rates]
            )
            return _NEAR / 2 * float(np.square(away).sum()) - likelihood, -slope / self.rows

        rates = np.array([logit(matrix[0, 0])]) if one else np.log(np.maximum(matrix, 1e-4)).ravel()
        first = np.concatenate([weights.ravel(), bias, rates])
        return opened(minimize(loss, first, jac=True, method="L-BFGS-B", options={"maxiter": 60}).x)

    def level_at(self, weights: np.ndarray, bias: np.ndarray, matrix: np.ndarray) -> float:
        """The likelihood with one rate for all pairs, climbed to from a fit with a matrix of its own."""
        right = float(np.clip(np.diag(matrix).mean(), 0.01, 0.99))
        turn, shift, made = self.refine(weights, bias, self.level(right), one=True)
        return self.explain(turn, shift, made)[2]

    def share_by_doubt(self, q: np.ndarray, matrix: np.ndarray) -> float:
        """Estimates the share of wrong labels where they become more frequent the less sure the classifier is.

        Where it is sure it is right, so that a label that disagrees is wrong; where it is not, its doubt explains
        whatever is wrong. So the rate is followed along the rank of its sureness where that is high, as a line in
        log-odds, and the line is drawn on.

        Args:
            q: Probabilities of the true class, `(rows, K)`.
            matrix: The transition matrix, `(K, K)`.

        Returns:
            The share, in [0, 1].
        """
        rank = (rankdata(-q.max(axis=1)) - 0.5) / self.rows
        sure = np.flatnonzero(rank < _SURE)
        odds = logit(np.clip(1 - np.diag(matrix), 1e-4, 1 - 1e-4))
        others = matrix.copy()
        np.fill_diagonal(others, 0)
        others /= np.maximum(others.sum(axis=1, keepdims=True), 1e-12)
        place = np.arange(len(sure))
        own, there = self.labels[sure], q[sure] * self.possible[sure]

        def loss(line: np.ndarray) -> float:
            wrong = expit(odds + line[0] + line[1] * rank[sure, np.newaxis])
            explained = (there * wrong * others.T[own]).sum(axis=1) + there[place, own] * (1 - wrong[place, own])
            return float(1e-4 * line[1] ** 2 - np.log(np.maximum(explained, 1e-300)).mean())

        line = minimize(loss, np.zeros(2), method="L-BFGS-B", bounds=[(-3, 3), (0, 6)]).x
        return float((q * expit(odds + line[0] + line[1] * rank[:, np.newaxis])).sum(axis=1).mean())


def _as_indicators(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns log-probabilities shifted and scaled to fit indicators of the labels, as a linear regression does."""
    classes = probabilities.shape[1]
    logs = np.log(np.maximum(probabilities, 1e-12))
    logs = logs - logs.mean(axis=1, keepdims=True)
    square = float(np.square(logs).sum())
    agreeing = float(logs[np.arange(len(labels)), labels].sum())
    return 1 / classes + logs * (max(agreeing, 1e-3 * np.sqrt(square)) / square if square else 0.0)


def _share(posterior: np.ndarray, labels: np.ndarray) -> float:
    """The expected share of rows whose true class is not the given one."""
    return float(1 - posterior[np.arange(len(labels)), labels].mean())


def _spread(wrong: np.ndarray) -> float:
    """The exponential of the entropy of each class's wrong labels, weighed by their number."""
    total = wrong.sum(axis=1)
    if not total.sum():
        return 1.0
    shares = wrong / np.maximum(total, 1e-300)[:, np.newaxis]
    entropy = -(shares * np.log(np.maximum(shares, 1e-300))).sum(axis=1)
    return float(np.exp((entropy * total).sum() / total.sum()))
