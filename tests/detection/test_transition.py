"""Who is mistaken for whom, from probabilities and given labels alone."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import roc_auc_score

from unlearning.detection.scoring import log_odds, share_by_known
from unlearning.detection.transition import can_estimate, estimate_transition
from unlearning.task import REMOVED, Corrections

CLASSES = 6


def rows_of(kind: str, share: float, *, rows: int = 6000, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities, given labels, and true ones; every class has a twin that looks like it (0 and 1, 2 and 3, ...)."""
    rng = np.random.default_rng(seed)
    true = rng.integers(0, CLASSES, rows)
    twin = true ^ 1
    clear = rng.beta(4, 1, rows)  # 1: certainly itself, 0: a coin's throw between it and its twin
    chance = np.full((rows, CLASSES), 0.002)
    chance[np.arange(rows), true] += 0.5 + clear / 2
    chance[np.arange(rows), twin] += 0.5 - clear / 2
    hit = rng.random(rows)
    if kind == "uniform":
        given = np.where(hit < share, (true + rng.integers(1, CLASSES, rows)) % CLASSES, true)
        matrix = np.full((CLASSES, CLASSES), share / (CLASSES - 1))
        np.fill_diagonal(matrix, 1 - share)
    elif kind == "crossed":
        other = CLASSES - 1 - np.arange(CLASSES)
        given = np.where(hit < share, other[true], true)
        matrix = (1 - share) * np.eye(CLASSES) + share * np.eye(CLASSES)[other]
    elif kind == "lopsided":
        even = true % 2 == 0
        given = np.where(even & (hit < 2 * share), twin, true)
        matrix = np.eye(CLASSES)
        for label in range(0, CLASSES, 2):
            matrix[label, label], matrix[label, label + 1] = 1 - 2 * share, 2 * share
    else:
        given = np.where(hit < share * (1 - clear) / 0.2, twin, true)  # what the picture makes hard, as people do
        matrix = np.eye(CLASSES)
    chance = chance / chance.sum(1, keepdims=True) @ matrix
    noisy = np.log(chance) + rng.normal(0, 0.3, chance.shape)
    return softmax(noisy, axis=1), given, true


@pytest.mark.parametrize(("kind", "least"), [("crossed", -0.001), ("lopsided", 0.03)])
def test_structured_noise_is_recognised_and_costs_nothing(kind: str, least: float) -> None:
    said, given, true = rows_of(kind, 0.2)
    found = estimate_transition(said, given)
    bad = given != true
    assert found.structure == "structured"
    assert found.share == pytest.approx(bad.mean(), abs=0.04)
    # Classes that look nothing alike are told apart by any judge; a class and its twin are not.
    gained = roc_auc_score(bad, found.scores(given)) - roc_auc_score(bad, log_odds(said, given))
    assert gained > least
    wrong = found.suggested()[bad & (found.scores(given) > 0)] == true[bad & (found.scores(given) > 0)]
    assert wrong.mean() > 0.9


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5])
def test_uniform_noise_is_no_structure_and_loses_nothing(share: float) -> None:
    said, given, true = rows_of("uniform", share)
    found = estimate_transition(said, given)
    bad = given != true
    assert found.structure == "uniform"
    assert found.share == pytest.approx(bad.mean(), abs=0.03)
    assert roc_auc_score(bad, found.scores(given)) > roc_auc_score(bad, log_odds(said, given)) - 0.005


def test_what_people_mistake_loses_little() -> None:
    said, given, true = rows_of("alike", 0.1)
    found = estimate_transition(said, given)
    bad = given != true
    assert roc_auc_score(bad, found.scores(given)) > roc_auc_score(bad, log_odds(said, given)) - 0.02


def test_nothing_wrong_is_nearly_nothing_found() -> None:
    said, _, true = rows_of("uniform", 0.0)
    assert estimate_transition(said, true).share < 0.03


def test_the_pairs_are_those_that_were_mistaken() -> None:
    said, given, true = rows_of("lopsided", 0.15)
    pairs = estimate_transition(said, given).describe(given)["pairs"]
    assert {(pair["true"], pair["given"]) for pair in pairs[:3]} == {(0, 1), (2, 3), (4, 5)}
    for pair in pairs[:3]:
        count = np.count_nonzero((true == pair["true"]) & (given == pair["given"]))
        assert pair["rows"] == pytest.approx(count, rel=0.35)


def test_the_posterior_by_hand() -> None:
    said, given, _ = rows_of("lopsided", 0.2, rows=500)
    found = estimate_transition(said, given)
    joint = found.classes * found.matrix[:, given].T
    np.testing.assert_allclose(found.posterior, joint / joint.sum(1, keepdims=True), atol=1e-12)
    np.testing.assert_allclose(found.matrix.sum(axis=1), 1)
    assert found.share == pytest.approx(1 - found.posterior[np.arange(500), given].mean())


def test_what_is_known_of_a_row_stands_in_the_pairs() -> None:
    said, given, true = rows_of("crossed", 0.2, rows=1000)
    possible = np.eye(CLASSES, dtype=bool)[true]  # all is known
    found = estimate_transition(said, given, possible)
    assert found.share == pytest.approx(np.mean(given != true), abs=1e-9)
    counted = np.zeros((CLASSES, CLASSES))
    np.add.at(counted, (true, given), 1)
    for pair in found.describe(given)["pairs"]:
        assert pair["rows"] == counted[pair["true"], pair["given"]]


@pytest.mark.parametrize("labels", [np.zeros(40, int), np.arange(40) % 2])
def test_few_rows_and_one_class_give_finite_numbers(labels: np.ndarray) -> None:
    said = softmax(np.random.default_rng(0).normal(size=(40, 2)), axis=1)
    found = estimate_transition(said, labels)
    assert np.isfinite(found.scores(labels)).all() and 0 <= found.share <= 1
    flat = estimate_transition(np.full((40, 2), 0.5), labels)
    assert np.isfinite(flat.scores(labels)).all()


@pytest.mark.parametrize("known_share", [0.05, 0.2, 0.5])
def test_known_bad_rows_bound_the_share(known_share: float) -> None:
    """By a wrong estimate of .1, where .4 of the rows are wrong and score higher."""
    rng = np.random.default_rng(0)
    bad = rng.random(10_000) < 0.4
    scores = rng.normal(np.where(bad, 2.0, 0.0), 1)
    rows = rng.permutation(np.flatnonzero(bad))[: round(known_share * bad.sum())]
    labels = np.zeros(len(bad), int)
    found = share_by_known(scores, labels, 0.1, Corrections(rows, np.full(len(rows), REMOVED)))
    assert abs(found - 0.4) < 0.12, "far nearer than .1"
    assert share_by_known(scores, labels, 0.1, None) == 0.1
    right = rng.permutation(np.flatnonzero(~bad))[:500]
    both = Corrections(np.append(rows, right), np.append(np.full(len(rows), REMOVED), np.zeros(500, int)))
    assert abs(share_by_known(scores, labels, 0.1, both) - 0.4) < 0.12


def test_a_matrix_needs_as_many_rows_as_pairs_of_classes() -> None:
    assert can_estimate(100, 10) and not can_estimate(99, 10) and not can_estimate(10**6, 201)
