"""The rows of an audit: drawn by stratum, of every side, and never one that is known."""

from __future__ import annotations

import numpy as np
import pytest

from unlearning.errors import InputError
from unlearning.review.sampling import draw_sample
from unlearning.review.settings import LEAST

SCORES = np.random.default_rng(0).normal(size=500)
SUSPECTS = np.flatnonzero(SCORES > 1)


def test_strata_follow_the_score() -> None:
    sample = draw_sample(SCORES, SUSPECTS, 100, 0)
    assert sample.sizes.sum() == 500 and sample.sizes[sample.suspect].sum() == len(SUSPECTS)
    lows = [SCORES[sample.rows[sample.strata == k]].min() for k in range(4)]
    highs = [SCORES[sample.rows[sample.strata == k]].max() for k in range(4)]
    assert all(low >= high for low, high in zip(lows[:-1], highs[1:], strict=True))
    assert np.isin(sample.rows, SUSPECTS).tolist() == sample.suspect[sample.strata].tolist()
    assert np.bincount(sample.strata).tolist() == [20, 20, 20, 40] and len(set(sample.rows.tolist())) == 100


def test_the_same_seed_asks_the_same() -> None:
    first, again, other = (draw_sample(SCORES, SUSPECTS, 50, seed).rows for seed in (3, 3, 4))
    assert first.tolist() == again.tolist() != other.tolist()


def test_whoever_stops_early_has_seen_every_stratum() -> None:
    assert all(set(draw_sample(SCORES, SUSPECTS, 50, seed).strata[:25]) == {0, 1, 2, 3} for seed in range(20))


@pytest.mark.parametrize("suspects", [SUSPECTS, SUSPECTS[:1], SUSPECTS[:0], np.arange(500), np.arange(499)])
@pytest.mark.parametrize("size", [LEAST, 50, 499, 10**6])
def test_any_number_of_suspects(suspects: np.ndarray, size: int) -> None:
    sample = draw_sample(SCORES, suspects, size, 0)
    assert len(sample.rows) == min(size, 500) and sample.sizes[sample.suspect].sum() == len(suspects)


def test_known_rows_are_not_asked_about() -> None:
    known = np.arange(0, 500, 2)
    sample = draw_sample(SCORES, SUSPECTS, 100, 0, known)
    assert not np.isin(sample.rows, known).any() and sample.sizes.sum() == 250
    with pytest.raises(InputError, match="every row is known"):
        draw_sample(SCORES, SUSPECTS, 50, 0, np.arange(500))


def test_too_few_questions_are_refused() -> None:
    with pytest.raises(InputError, match="at least 10"):
        draw_sample(SCORES, SUSPECTS, 9, 0)
