"""Shares by answers: the interval holds the truth, by simulated audits, and knows what has been seen."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtri

from unlearning.review.estimates import Interval, estimate_share
from unlearning.review.sampling import draw_sample

ROWS = 4000
NEAR = 1e-9


def audits(share: float, auroc: float, called: float, *, size: int = 50, count: int = 100) -> np.ndarray:
    """How many of 100 simulated audits hold the truth: of all rows, of the suspects, of the others.

    Scores are normal, as far apart as the AUROC says; `called` is the number of suspects as a part of the wrong rows.

    Returns:
        Three counts.
    """
    rng = np.random.default_rng([int(1000 * share), int(100 * auroc), int(10 * called)])
    held = np.zeros(3)
    for number in range(count):
        if number % 10 == 0:
            wrong = rng.random(ROWS) < share
            scores = rng.normal(size=ROWS) + np.sqrt(2) * ndtri(auroc) * wrong
            suspects = np.sort(np.argsort(-scores)[: max(10, int(called * max(share, 0.01) * ROWS))])
        sample = draw_sample(scores, suspects, size, number)
        asked = np.bincount(sample.strata, minlength=4)
        yes = np.bincount(sample.strata, wrong[sample.rows], minlength=4)
        is_suspect = np.isin(np.arange(ROWS), suspects)
        for place, (part, rows) in enumerate(
            ((slice(None), slice(None)), (sample.suspect, is_suspect), (~sample.suspect, ~is_suspect))
        ):
            found = estimate_share(yes[part], asked[part], sample.sizes[part])
            held[place] += found.low - NEAR <= wrong[rows].mean() <= found.high + NEAR
    return held


@pytest.mark.parametrize("share", [0.0, 0.005, 0.02, 0.1, 0.3, 0.6])
@pytest.mark.parametrize("auroc", [0.6, 0.9, 0.99])
def test_at_least_90_of_100_simulated_audits_hold_the_truth(share: float, auroc: float) -> None:
    for called in (0.3, 1.0, 1.6):
        assert audits(share, auroc, called).min() >= 90, (share, auroc, called)


def test_the_estimate_is_right_on_average() -> None:
    rng = np.random.default_rng(0)
    wrong = rng.random(ROWS) < 0.2
    scores = rng.normal(size=ROWS) + 2 * wrong
    suspects = np.argsort(-scores)[:600]
    found = []
    for seed in range(400):
        sample = draw_sample(scores, suspects, 50, seed)
        asked = np.bincount(sample.strata, minlength=4)
        found.append(estimate_share(np.bincount(sample.strata, wrong[sample.rows], 4), asked, sample.sizes).value)
    assert abs(np.mean(found) - wrong.mean()) < 4 * np.std(found) / 20


def test_rows_that_were_all_asked_about_leave_no_doubt() -> None:
    found = estimate_share(np.array([3, 0]), np.array([10, 5]), np.array([10, 5]))
    assert found == Interval(pytest.approx(0.2), pytest.approx(0.2), pytest.approx(0.2))


def test_more_answers_tell_more() -> None:
    widths = [
        np.subtract(*estimate_share(np.array([n // 5]), np.array([n]), np.array([10**6]))[:0:-1])
        for n in (10, 50, 250, 1250)
    ]
    assert widths == sorted(widths, reverse=True) and widths[-1] < 0.05


def test_without_answers_all_is_possible() -> None:
    nothing = np.zeros(2, dtype=int)
    assert estimate_share(nothing, nothing, np.array([5, 5])) == (0.5, 0.0, 1.0)
    known = estimate_share(np.array([1, 0]), np.array([10, 0]), np.array([500, 500]))
    assert known == estimate_share(np.array([1]), np.array([10]), np.array([500]))


def test_where_all_agree_a_doubt_is_left() -> None:
    found = estimate_share(np.array([0, 20]), np.array([30, 20]), np.array([9000, 1000]))
    assert found.value == pytest.approx(0.1) and found.low < 0.095 and 0.15 < found.high < 0.25
