"""Certified logistic regression against closed forms."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from scipy.stats import norm

from unlearning.errors import InputError
from unlearning.influence import certified
from unlearning.influence.certified import LogisticProblem

ROWS, FEATURES = 120, 6


def problem(seed: int = 0, *, regularisation: float = 1.0, sigma: float = 0.0) -> LogisticProblem:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(ROWS, FEATURES))
    labels = np.where(features @ rng.normal(size=FEATURES) + rng.normal(size=ROWS) > 0, 1, -1)
    return LogisticProblem(features, labels, regularisation, certified.draw_noise(FEATURES, sigma, seed))


def corrected(before: LogisticProblem, count: int = 10) -> LogisticProblem:
    rows = np.arange(count) * 3
    return certified.correct_rows(before, rows, labels=-before.labels[rows])


def test_loss_gradient_and_hessian_agree_with_finite_differences() -> None:
    given, theta, step = problem(sigma=0.5), np.linspace(-1, 1, FEATURES), 1e-5
    ups, downs = theta + step * np.eye(FEATURES), theta - step * np.eye(FEATURES)
    gradient = [(given.loss(u) - given.loss(d)) / (2 * step) for u, d in zip(ups, downs, strict=True)]
    hessian = [(given.gradient(u) - given.gradient(d)) / (2 * step) for u, d in zip(ups, downs, strict=True)]
    np.testing.assert_allclose(given.gradient(theta), gradient, atol=1e-7)
    np.testing.assert_allclose(given.hessian(theta), hessian, atol=1e-7)


def test_loss_of_one_row_by_hand() -> None:
    one = LogisticProblem([[2.0]], [-1], regularisation=3.0, noise=[0.25])
    assert one.loss(np.array([0.5])) == pytest.approx(math.log(1 + math.e) + 3 / 2 * 0.25 + 0.125)


def test_loss_is_finite_far_out() -> None:
    assert math.isfinite(problem().loss(np.full(FEATURES, 1e4)))


def test_fit_ends_at_the_minimum() -> None:
    given = problem(sigma=0.5)
    theta = certified.fit(given)
    assert certified.gradient_residual(given, theta) < 1e-8
    nearby = theta + 0.01 * np.random.default_rng(1).normal(size=(20, FEATURES))
    assert all(given.loss(other) > given.loss(theta) for other in nearby)


def test_fit_says_where_it_stopped() -> None:
    with pytest.raises(InputError, match="Standardise"):
        certified.fit(problem(), tolerance=1e-300)


def test_one_newton_step_is_exact_where_the_loss_is_quadratic() -> None:
    # Margins of some 1e-6: all curvatures are 1/4 to the last bit, so the objective is a quadratic.
    base = problem()
    before = LogisticProblem(1e-3 * base.features, base.labels, regularisation=100.0)
    after = corrected(before)
    theta = certified.second_order(before, after, certified.fit(before, 1e-12))
    np.testing.assert_allclose(theta, certified.fit(after, 1e-12), rtol=1e-8, atol=1e-14)
    quarter = after.features.T @ after.features / 4 + 100 * np.eye(FEATURES)
    np.testing.assert_allclose(theta, np.linalg.solve(quarter, after.features.T @ after.labels / 2), rtol=1e-8)


@pytest.mark.parametrize("sigma", [0.0, 2.0])
def test_second_order_leaves_far_less_than_first_order_whatever_its_step(sigma: float) -> None:
    # Columns of different scale: no single step length fits all directions.
    base = problem(sigma=sigma)
    before = dataclasses.replace(base, features=base.features * np.geomspace(0.3, 3, FEATURES))
    after = corrected(before, 2)
    theta = certified.fit(before)
    second = certified.gradient_residual(after, certified.second_order(before, after, theta))
    rates = np.geomspace(1e-4, 1, 60)
    first = [certified.gradient_residual(after, certified.first_order(before, after, theta, rate)) for rate in rates]
    untouched = certified.gradient_residual(after, theta)
    assert second < 0.2 * min(first) and min(first) < 0.9 * untouched


def test_newton_steps_converge_to_retraining() -> None:
    before = problem(sigma=0.5)
    after = corrected(before, 5)
    theta, retrained = certified.fit(before), certified.fit(after)
    distances = [
        np.linalg.norm(certified.second_order(before, after, theta, steps) - retrained) for steps in (1, 2, 3, 5)
    ]
    assert distances[0] > 10 * distances[1] > 100 * distances[2]
    assert distances[3] < 1e-10
    assert certified.gradient_residual(after, retrained) < 1e-8


def test_gradient_difference_is_that_of_the_whole_objectives() -> None:
    before = problem(sigma=1.0)
    after = certified.correct_rows(before, [3, 7], labels=[1, -1], features=np.ones((2, FEATURES)))
    theta = np.linspace(-1, 1, FEATURES)
    expected = after.gradient(theta) - before.gradient(theta)
    np.testing.assert_allclose(certified.gradient_difference(before, after, theta), expected, atol=1e-12)
    assert certified.changed_rows(before, after).tolist() == [3, 7]


def test_removing_a_feature_is_retraining_without_the_column() -> None:
    before = problem()
    after = certified.remove_features(before, [1, 4])
    kept = [0, 2, 3, 5]
    without = certified.fit(LogisticProblem(before.features[:, kept], before.labels))
    np.testing.assert_allclose(certified.fit(after)[kept], without, atol=1e-8)
    theta = certified.second_order(before, after, certified.fit(before))
    np.testing.assert_allclose(theta[[1, 4]], 0, atol=1e-8)  # after one step already
    np.testing.assert_allclose(certified.second_order(before, after, theta, 6)[kept], without, atol=1e-8)


def test_a_removed_feature_keeps_its_noise_and_nothing_else() -> None:
    before = problem(sigma=1.0, regularisation=2.0)
    after = certified.remove_features(before, [1])
    theta = certified.second_order(before, after, certified.fit(before))
    assert theta[1] == pytest.approx(-before.noise[1] / 2.0, abs=1e-8)


def test_nothing_is_changed_in_place() -> None:
    before = problem()
    features, labels = before.features.copy(), before.labels.copy()
    theta = certified.fit(before)
    kept = theta.copy()
    after = certified.remove_features(corrected(before), [0])
    certified.second_order(before, after, theta, 2)
    certified.first_order(before, after, theta, 0.1)
    np.testing.assert_array_equal(before.features, features)
    np.testing.assert_array_equal(before.labels, labels)
    np.testing.assert_array_equal(theta, kept)


def test_without_a_change_nothing_moves() -> None:
    given = problem()
    theta = certified.fit(given)
    np.testing.assert_array_equal(certified.second_order(given, given, theta), theta)
    np.testing.assert_array_equal(certified.first_order(given, given, theta, 0.5), theta)


@pytest.mark.parametrize("seed", range(5))
def test_bounds_are_ordered(seed: int) -> None:
    base = problem(seed, regularisation=5.0, sigma=1.0)
    longest = np.linalg.norm(base.features, axis=1).max()
    before = dataclasses.replace(base, features=base.features / longest)
    after = corrected(before, 1 + 2 * seed)
    theta = certified.fit(before)
    updated = certified.second_order(before, after, theta)
    measured = certified.gradient_residual(after, updated)
    bound = certified.newton_residual_bound(before, after, theta, updated)
    worst = certified.worst_case_residual_bound(ROWS, 1 + 2 * seed, regularisation=5.0)
    assert measured <= bound <= worst


def test_newton_bound_allows_for_an_inexact_fit() -> None:
    before = problem()
    after = corrected(before, 1)
    theta = certified.fit(before) + 0.05
    updated = certified.second_order(before, after, theta)
    assert certified.gradient_residual(before, theta) > 1
    assert certified.gradient_residual(after, updated) <= certified.newton_residual_bound(before, after, theta, updated)


def test_worst_case_by_hand() -> None:
    bound = certified.worst_case_residual_bound(100, 3, largest_norm=2.0, regularisation=4.0)
    assert bound == pytest.approx(100 * 8 * 9 / (12 * math.sqrt(3)))


def test_sigma_budget_and_epsilon_by_hand() -> None:
    # delta = 1.5 / e^2 makes c = 2.
    delta = 1.5 / math.e**2
    assert certified.certified_sigma(0.3, 0.1, delta) == pytest.approx(6.0)
    assert certified.residual_budget(6.0, 0.1, delta) == pytest.approx(0.3)
    assert certified.reached_epsilon(0.3, 6.0, delta) == pytest.approx(0.1)
    assert certified.reached_epsilon(0.3, 0.0, delta) == math.inf
    assert certified.reached_epsilon(0.0, 0.0, delta) == 0


@pytest.mark.parametrize("epsilon", [0.01, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("delta", [1e-6, 1e-3, 0.01, 0.1])
def test_the_noise_is_enough_by_the_exact_gaussian_mechanism(epsilon: float, delta: float) -> None:
    # Balle and Wang, "Improving the Gaussian Mechanism", ICML 2018, equation 6: the smallest delta for a given sigma.
    shift = 1 / certified.certified_sigma(1.0, epsilon, delta)
    exact = norm.cdf(shift / 2 - epsilon / shift) - math.exp(epsilon) * norm.cdf(-shift / 2 - epsilon / shift)
    assert 0 < exact <= delta


def test_certificate_holds_up_to_its_budget_and_no_further() -> None:
    budget = certified.residual_budget(2.0, 0.5, 0.01)
    within = certified.certify(0.99 * budget, sigma=2.0, epsilon=0.5, delta=0.01)
    beyond = certified.certify(1.01 * budget, sigma=2.0, epsilon=0.5, delta=0.01)
    assert within.holds and within.epsilon < 0.5 and within.budget == budget
    assert not beyond.holds and beyond.epsilon > 0.5


def test_noise_has_the_asked_for_spread_and_repeats() -> None:
    noise = certified.draw_noise(20_000, 3.0, seed=1)
    assert noise.std() == pytest.approx(3.0, rel=0.02) and abs(noise.mean()) < 0.1
    np.testing.assert_array_equal(noise, certified.draw_noise(20_000, 3.0, seed=1))


def test_predict_is_the_sign_of_the_score() -> None:
    assert certified.predict(np.array([1.0, -1.0]), [[2.0, 1.0], [1.0, 2.0]]).tolist() == [1, -1]


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"features": np.zeros(3)}, "features"),
        ({"features": np.zeros((0, 3)), "labels": []}, "features"),
        ({"features": [[math.nan] * FEATURES] * ROWS}, "features"),
        ({"features": [["a"]]}, "features"),
        ({"labels": np.zeros(ROWS)}, "labels"),
        ({"labels": np.ones(3)}, "labels"),
        ({"regularisation": 0.0}, "regularisation"),
        ({"regularisation": math.nan}, "regularisation"),
        ({"noise": np.zeros(2)}, "noise"),
        ({"noise": np.full(FEATURES, math.inf)}, "noise"),
    ],
)
def test_bad_problems_are_refused(changes: dict, name: str) -> None:
    with pytest.raises(InputError, match=f"`{name}`"):
        dataclasses.replace(problem(), **changes)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda p: certified.remove_features(p, [FEATURES]), "columns"),
        (lambda p: certified.remove_features(p, []), "columns"),
        (lambda p: certified.correct_rows(p, [0]), "labels"),
        (lambda p: certified.correct_rows(p, [ROWS], labels=[1]), "rows"),
        (lambda p: certified.correct_rows(p, [1, 1], labels=[1, 1]), "rows"),
        (lambda p: certified.correct_rows(p, [0, 1], labels=[1]), "labels"),
        (lambda p: certified.correct_rows(p, [0], labels=[0]), "labels"),
        (lambda p: certified.correct_rows(p, [0], features=np.zeros((1, 2))), "features"),
        (lambda p: certified.correct_rows(p, [0], features=np.full((1, FEATURES), math.nan)), "features"),
        (lambda p: certified.first_order(p, p, np.zeros(FEATURES), 0.0), "learning_rate"),
        (lambda p: certified.second_order(p, p, np.zeros(FEATURES), 0), "steps"),
        (lambda p: certified.changed_rows(p, dataclasses.replace(p, regularisation=2.0)), "after"),
        (lambda p: certified.changed_rows(p, LogisticProblem(np.ones((2, 2)), [1, -1])), "after"),
        (lambda p: certified.fit(p, tolerance=0.0), "tolerance"),
        (lambda p: certified.draw_noise(0, 1.0, 0), "features"),
        (lambda p: certified.draw_noise(3, -1.0, 0), "sigma"),
        (lambda p: certified.certified_sigma(1.0, 1.5, 0.1), "epsilon"),
        (lambda p: certified.certified_sigma(-1.0, 0.5, 0.1), "residual"),
        (lambda p: certified.residual_budget(1.0, 0.5, 1.0), "delta"),
        (lambda p: certified.reached_epsilon(1.0, math.nan, 0.1), "sigma"),
        (lambda p: certified.worst_case_residual_bound(3, 4), "changed"),
        (lambda p: certified.worst_case_residual_bound(3, 1, largest_norm=-1.0), "largest_norm"),
        (lambda p: certified.worst_case_residual_bound(3, 1, regularisation=0.0), "regularisation"),
    ],
)
def test_bad_arguments_are_refused(call, name: str) -> None:
    with pytest.raises(InputError, match=f"`{name}`"):
        call(problem())


def test_newton_residual_bound_by_hand() -> None:
    """Rows (3, 0) and (0, 4) and a step of ones: `slope/2 * 4 * |(9, 16)|`, and what the fit left over."""
    given = LogisticProblem(np.diag([3.0, 4.0]), np.array([1, -1]))
    start = np.array([0.2, -0.1])
    left_over = float(np.linalg.norm(given.gradient(start)))
    bound = certified.newton_residual_bound(given, given, start, start + 1)
    assert bound - left_over == pytest.approx(2 * math.hypot(9, 16) / (6 * math.sqrt(3)))
