"""The cut by answers: moved where it is clearly off, left where it is good."""

from __future__ import annotations

import numpy as np
import pytest

from unlearning.review.cut import fit_logistic, move_cut
from unlearning.review.sampling import draw_sample

ROWS = 3000


def f1(suspects: np.ndarray, wrong: np.ndarray) -> float:
    called = np.isin(np.arange(ROWS), suspects)
    return 2 * (called & wrong).sum() / (called.sum() + wrong.sum())


def moved(share: float, called: float) -> tuple[np.ndarray, np.ndarray, float]:
    """F1 before and after 20 audits, and how often the cut moved, where `called` times the wrong rows are suspect."""
    rng = np.random.default_rng(1)
    wrong = rng.random(ROWS) < share
    scores = np.exp(rng.normal(size=ROWS) + 2.7 * wrong)
    suspects = np.sort(np.argsort(-scores)[: int(called * share * ROWS)])
    before, after, times = [], [], 0
    for seed in range(20):
        rows = draw_sample(scores, suspects, 50, seed).rows
        cut = move_cut(scores, suspects, rows, wrong[rows])
        assert cut.moved or cut.suspects.tolist() == suspects.tolist()
        before.append(f1(suspects, wrong))
        after.append(f1(cut.suspects, wrong))
        times += cut.moved
    return np.array(before), np.array(after), times / 20


@pytest.mark.parametrize(("share", "called"), [(0.2, 0.3), (0.1, 0.3), (0.3, 2.2), (0.5, 0.4)])
def test_a_cut_that_is_off_is_moved_to_where_it_should_be(share: float, called: float) -> None:
    before, after, times = moved(share, called)
    assert times > 0.5 and after.mean() > before.mean() + 0.1


@pytest.mark.parametrize("share", [0.02, 0.1, 0.2, 0.5])
def test_a_good_cut_is_not_shaken(share: float) -> None:
    before, after, times = moved(share, 1.0)
    assert times <= 0.2 and after.mean() > before.mean() - 0.02


def test_few_answers_of_one_kind_move_nothing() -> None:
    scores = np.arange(100.0)
    cut = move_cut(scores, np.arange(90, 100), np.arange(0, 100, 3), np.arange(0, 100, 3) > 95)
    assert (cut.moved, cut.f1_before, cut.threshold) == (False, None, None)


def test_the_unit_of_the_scores_does_not_matter() -> None:
    scores, asked = np.arange(1000.0), np.arange(0, 1000, 20)
    cuts = [move_cut(s, np.arange(950, 1000), asked, asked >= 700) for s in (scores, np.exp(scores / 99) - 7)]
    assert cuts[0].moved and cuts[0].suspects.tolist() == cuts[1].suspects.tolist()


def test_equal_scores_stay_together() -> None:
    scores = np.repeat([0.0, 1.0, 2.0], 100)
    asked = np.arange(0, 300, 6)
    cut = move_cut(scores, np.arange(290, 300), asked, asked >= 100)
    assert cut.suspects.tolist() == list(range(100, 300)) and cut.threshold == 1.0


def test_firths_penalty_keeps_the_curve_finite() -> None:
    z = np.linspace(-2, 2, 20)
    (a, b), spread = fit_logistic(z, z > 0)
    assert abs(a) < 1 and 1 < b < 10 and np.isfinite(spread).all()
    # Of a 2 x 2 table it is the log odds ratio with half a case added to each cell.
    x = np.repeat([0.0, 1.0], 10)
    (a, b), _ = fit_logistic(x, np.arange(20) % 10 < np.where(x == 0, 2, 7))
    assert a == pytest.approx(np.log(2.5 / 8.5)) and b == pytest.approx(np.log(7.5 / 3.5) - np.log(2.5 / 8.5))
