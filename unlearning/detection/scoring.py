"""How suspicious a label is under class probabilities, and how many there are."""

from __future__ import annotations

import numpy as np

from unlearning.task import Corrections

_FEW = 50  # known rows that weigh as much as the estimate without them


def log_odds(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns `log max_{k != y} p_k - log p_y`, float64 `(rows,)`: positive where another class is likelier.

    Args:
        probabilities: Of the classes, `(rows, K)` with `K` of at least 2.
        labels: The given labels `y`.
    """
    logs = np.log(np.maximum(probabilities, 1e-12))
    chosen = np.arange(len(labels))
    own = logs[chosen, labels]
    logs[chosen, labels] = -np.inf
    return logs.max(axis=1) - own


def estimate_noise_rate(probabilities: np.ndarray, labels: np.ndarray, share: float = 0.05) -> float:
    """Estimates the share of wrong labels from the rows that a classifier is surest about.

    Of the anchor points of a class, where its probability is highest, practically all belong to it (Patrini et al.,
    CVPR 2017); the share of them that carries another label is the share of wrong labels, as far as wrong labels are as
    frequent among easy rows as among hard ones. Where people mislabel what is hard, the estimate is too low.

    Args:
        probabilities: Out-of-sample class probabilities, `(rows, K)`.
        labels: The given labels.
        share: Share of the rows of each predicted class that count as anchors, at least one.

    Returns:
        The rate, in [0, 1].
    """
    predicted, confidence = probabilities.argmax(-1), probabilities.max(-1)
    anchors = []
    for label in np.unique(predicted):
        rows = np.flatnonzero(predicted == label)
        anchors.append(rows[np.argsort(-confidence[rows], kind="stable")[: max(1, round(share * len(rows)))]])
    chosen = np.concatenate(anchors)
    return float(np.mean(predicted[chosen] != labels[chosen]))


def share_by_known(scores: np.ndarray, labels: np.ndarray, share: float, known: Corrections | None) -> float:
    """Corrects an estimated share of wrong labels by rows that are known to be wrong, or right.

    Where the known wrong rows are as good as drawn from all wrong ones, the part of them above a score is the part of
    all wrong ones above it, which cannot be more than all rows above it. The least such bound is met where hardly any
    row above is right (Blanchard, Lee and Scott, JMLR 11, 2010); the same holds of right rows from below. With few
    known rows the estimate stays; a bound of many takes its place.

    Args:
        scores: Higher is more suspicious, `(rows,)`.
        labels: The given labels.
        share: The estimate without them.
        known: What is known of some rows; None for nothing.

    Returns:
        The share, in [0, 1].
    """
    if known is None or not len(known):
        return share
    wrong = known.labels != labels[known.rows]
    for rows, sign in ((known.rows[wrong], 1), (known.rows[~wrong], -1)):
        if len(rows) < _FEW:
            continue
        ordered = np.sort(sign * scores)
        levels = np.quantile(sign * scores[rows], np.linspace(0.1, 0.75, 14))
        above = 1 - np.searchsorted(ordered, levels) / len(scores)
        recall = np.array([np.mean(sign * scores[rows] >= level) for level in levels])
        doubt = np.sqrt((1 - recall) / (recall * len(rows)))  # standard error of the recall, as a part of it
        tightest = int(np.argmin(above / recall * (1 + 2 * doubt)))  # not the luckiest
        bound = above[tightest] / recall[tightest]
        bound = bound if sign > 0 else 1 - bound
        weight = len(rows) / (len(rows) + _FEW)
        share += weight * (bound - share) if sign > 0 else max(0.0, weight * (bound - share))
    return float(np.clip(share, np.count_nonzero(wrong) / len(scores), 1))
