"""Two paired tests, one judge: better beyond chance, and no loss bought with it."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from unlearning.acceptance import GUARD, LEVEL, Paired, Verdict, choosing_rows, compare, compare_losses, judge


def pair(rows: int, gained: int, lost: int) -> Paired:
    before = np.arange(rows) < rows // 2
    after = before.copy()
    after[:lost], after[rows - gained :] = False, True
    return compare(before, after)


class TestHalves:
    @pytest.mark.parametrize("rows", [1, 2, 7, 100, 271])
    def test_every_class_is_divided_evenly(self, rows: int) -> None:
        labels = np.random.default_rng(rows).integers(0, 4, rows)
        chosen = choosing_rows(labels, 3)
        others = np.setdiff1d(np.arange(rows), chosen)
        assert len(chosen) - len(others) in (0, 1) and (np.diff(chosen) > 0).all()
        for k in range(4):
            assert abs(np.count_nonzero(labels[chosen] == k) - np.count_nonzero(labels[others] == k)) <= 1

    def test_the_seed_draws_them(self) -> None:
        labels = np.arange(60) % 3
        np.testing.assert_array_equal(choosing_rows(labels, 1), choosing_rows(labels, 1))
        assert not np.array_equal(choosing_rows(labels, 1), choosing_rows(labels, 2))


class TestPaired:
    def test_counts(self) -> None:
        found = pair(100, 9, 2)
        assert (found.rows, found.gained, found.lost) == (100, 9, 2)
        assert (found.before, found.after) == (0.5, 0.57) and found.difference == pytest.approx(0.07)

    @pytest.mark.parametrize(("gained", "lost"), [(0, 0), (1, 0), (5, 0), (7, 1), (3, 9), (0, 4)])
    def test_p_values_are_tails_of_a_fair_coin(self, gained: int, lost: int) -> None:
        trials = gained + lost
        tails = [Fraction(sum(math.comb(trials, k) for k in range(n, trials + 1)), 2**trials) for n in (gained, lost)]
        found = pair(100, gained, lost)
        assert [found.p_better, found.p_worse] == pytest.approx([float(tail) for tail in tails])

    def test_intervals_cover(self) -> None:
        """About 95 of 100 samples' intervals hold the true difference."""
        rng = np.random.default_rng(0)
        for rows, gained, lost in ((40, 0.1, 0.05), (135, 0.03, 0.01), (500, 0.2, 0.2)):
            draws = rng.multinomial(rows, [gained, lost, 1 - gained - lost], size=2000)
            ends = [Paired(rows, 0.5, 0.5, int(g), int(n)).interval for g, n, _ in draws]
            covered = np.mean([low <= gained - lost <= high for low, high in ends])
            assert 0.93 <= covered <= 0.995
            assert all(low <= (g - n) / rows <= high for (low, high), (g, n, _) in zip(ends, draws, strict=True))

    def test_no_rows(self) -> None:
        found = compare(np.empty(0, bool), np.empty(0, bool))
        assert found.before is found.after is None and found.difference == 0.0
        assert found.p_better == found.p_worse == 1.0 and found.interval == (-1.0, 1.0)


class TestJudge:
    @pytest.mark.parametrize(
        ("deciding", "everything", "flagged", "verdict"),
        [
            ((5, 0), (6, 0), None, Verdict.IMPROVED),
            ((4, 0), (9, 0), None, Verdict.NOT_BEYOND_CHANCE),  # what the rows that chose gained proves nothing
            ((4, 0), (9, 0), (5, 0), Verdict.IMPROVED),
            ((0, 0), (0, 0), (5, 0), Verdict.IMPROVED),
            ((0, 0), (1, 0), (4, 0), Verdict.NOT_BEYOND_CHANCE),
            ((0, 1), (3, 1), (40, 0), Verdict.WORSE_ON_VALIDATION),
            ((2, 3), (9, 3), (40, 0), Verdict.WORSE_ON_VALIDATION),
            ((9, 0), (20, 0), (0, 5), Verdict.FLAGGED_ROWS_WORSE),  # whatever is gained elsewhere
            ((9, 0), (20, 0), (0, 4), Verdict.IMPROVED),  # four of four by chance: one in sixteen
            ((2, 2), (2, 3), (40, 0), Verdict.WORSE_ON_VALIDATION),  # the rows that choose guard, too
        ],
    )
    def test_verdict(self, deciding, everything, flagged, verdict: Verdict) -> None:
        told = None if flagged is None else pair(60, *flagged)
        found = judge(pair(60, *deciding), pair(120, *everything), told)
        assert found.verdict is verdict
        assert found.validation == pair(60, *deciding) and found.flagged == told

    def test_chance_alone_is_taken_rarely(self) -> None:
        """Nothing gained in truth: at most `LEVEL` on validation rows, whatever the share of rows that change."""
        rng = np.random.default_rng(1)
        for share in (0.02, 0.1, 0.4):
            draws = rng.multinomial(135, [share / 2, share / 2, 1 - share], size=2000)
            found = [judge(p, p, None).verdict for p in (Paired(135, 0, 0, int(g), int(n)) for g, n, _ in draws)]
            assert np.mean([verdict is Verdict.IMPROVED for verdict in found]) <= LEVEL + 0.01

    def test_a_true_loss_passes_as_rarely_as_the_docstring_says(self) -> None:
        rng = np.random.default_rng(2)
        for rows, expected in ((135, 0.16), (90, 0.25)):
            draws = rng.multinomial(rows, [0.01, 0.03, 0.96], size=4000)
            passed = [Paired(rows, 0, 0, int(g), int(n)).p_worse > GUARD for g, n, _ in draws]
            assert np.mean(passed) == pytest.approx(expected, abs=0.03)


class TestLikelihood:
    def test_before_and_after_are_reciprocals_of_the_perplexity(self) -> None:
        before, after = np.log([2.0, 8.0]), np.log([2.0, 2.0])
        found = compare_losses(before, after)
        assert (found.before, found.after) == pytest.approx((1 / 4, 1 / 2))
        assert (found.gained, found.lost, found.difference) == (1, 0, pytest.approx(1 / 4))
        assert found.interval[0] < found.difference < found.interval[1]

    def test_chance_is_called_better_as_often_as_the_level_says(self) -> None:
        rng = np.random.default_rng(0)
        p = [compare_losses(*rng.gamma(2.0, size=(2, 200))).p_better for _ in range(2000)]
        assert np.mean(np.array(p) <= LEVEL) == pytest.approx(LEVEL, abs=0.015)

    def test_a_few_rows_that_gain_much_are_an_improvement_though_most_lose_a_little(self) -> None:
        before = np.full(1000, 1.5)
        after = before + 0.01
        after[:40] -= 3.0
        found = compare_losses(before, after)
        assert (found.gained, found.lost) == (40, 960)
        assert judge(found, found, None).verdict == Verdict.IMPROVED
        assert judge(compare_losses(after, before), found, None).verdict == Verdict.WORSE_ON_VALIDATION

    def test_one_model_twice_is_no_improvement(self) -> None:
        same = compare_losses(np.ones(9), np.ones(9))
        assert (same.p_better, same.p_worse) == (1.0, 1.0)
        assert judge(same, same, None).verdict == Verdict.NOT_BEYOND_CHANCE
        assert compare_losses(np.empty(0), np.empty(0)).p_better == 1.0
