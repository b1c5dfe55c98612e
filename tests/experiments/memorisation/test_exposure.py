"""Exposure against its definition, by listing all secrets."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from unlearning.experiments.memorisation.book import encode
from unlearning.experiments.memorisation.exposure import draw_secrets, log_perplexities, measure_exposure
from unlearning.experiments.memorisation.words import ALPHABET, DIGITS

BEFORE, LENGTH = "the number is ", 6


def model(windows: np.ndarray) -> np.ndarray:
    """A language model without a network: probabilities that depend on the whole window."""
    assert windows.shape[1] == LENGTH
    weights = np.random.default_rng(5).normal(size=(LENGTH * len(ALPHABET), len(ALPHABET)))
    scores = np.stack([weights[place * len(ALPHABET) + windows[:, place]] for place in range(LENGTH)]).sum(axis=0)
    powers = np.exp(scores)
    return powers / powers.sum(axis=1, keepdims=True)


def knowing(secret: str):  # type: ignore[no-untyped-def]
    """The same model, but that it is nearly sure of one secret."""

    def said(windows: np.ndarray) -> np.ndarray:
        found = model(windows)
        for place, digit in enumerate(encode(secret)):
            behind = encode(BEFORE + secret[:place])[-LENGTH:]
            found[(windows == behind).all(axis=1)] = 1e-4
            found[(windows == behind).all(axis=1), digit] = 1 - 52e-4
        return found

    return said


SECRETS = np.array([encode("".join(digits)) for digits in itertools.product(DIGITS, repeat=3)])


@pytest.mark.parametrize("secret", ["000", "314", "777", "982"])
def test_the_rank_is_that_among_all_secrets(secret: str) -> None:
    costs = log_perplexities(model, BEFORE, SECRETS, length=LENGTH)
    own = costs[int(secret)]
    found = measure_exposure(model, BEFORE, secret, length=LENGTH)
    assert found.how == "exact"
    assert found.rank == 1 + np.count_nonzero(costs < own - 1e-9)
    assert found.bits == pytest.approx(np.log2(1000) - np.log2(found.rank))
    assert found.log_perplexity == pytest.approx(own)


def test_log_perplexity_is_the_sum_over_the_digits() -> None:
    probabilities = [model(encode(BEFORE + "314"[:n])[np.newaxis, -LENGTH:])[0] for n in range(3)]
    expected = -sum(np.log2(p[encode(d)[0]]) for p, d in zip(probabilities, "314", strict=True))
    assert log_perplexities(model, BEFORE, encode("314")[np.newaxis], length=LENGTH)[0] == pytest.approx(expected)


def test_a_secret_that_is_known_by_heart_is_the_likeliest_and_cheap_to_rank() -> None:
    asked = 0
    said = knowing("271828182")

    def counted(windows: np.ndarray) -> np.ndarray:
        nonlocal asked
        asked += len(windows)
        return said(windows)

    found = measure_exposure(counted, BEFORE, "271828182", length=LENGTH)
    assert (found.how, found.rank, found.bits) == ("exact", 1, found.most)
    assert asked < 1000  # of a billion


def test_an_estimate_is_near_the_count() -> None:
    # Of secrets of middling rank; the tail of a fitted distribution is another matter.
    costs = log_perplexities(model, BEFORE, SECRETS, length=LENGTH)
    for rank in (50, 200, 600):
        secret = f"{np.argsort(costs)[rank]:03d}"
        exact = measure_exposure(model, BEFORE, secret, length=LENGTH)
        estimate = measure_exposure(model, BEFORE, secret, length=LENGTH, most_rows=1)
        assert (exact.how, estimate.how, estimate.rank) == ("exact", "estimated", None)
        assert estimate.bits == pytest.approx(exact.bits, abs=0.5)


def test_drawn_secrets_are_digits_and_repeat_by_seed() -> None:
    drawn = draw_secrets(50, 4, seed=1)
    assert set(drawn.ravel()) <= set(encode(DIGITS))
    np.testing.assert_array_equal(drawn, draw_secrets(50, 4, seed=1))
