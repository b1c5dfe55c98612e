"""Processor seconds by what they were spent on."""

import time

import pytest

from unlearning.profiling import format_shares, profiled, spending


def burn(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_inner_parts_are_taken_off_outer_ones_and_the_rest_is_told() -> None:
    @spending("scores")
    def score() -> None:
        burn(0.03)

    with profiled() as shares:
        burn(0.02)
        with spending("training"):
            burn(0.02)
            score()
        score()
    assert list(shares) == ["training", "scores", "the rest"]
    assert shares["scores"] == pytest.approx(0.06, abs=0.03) and shares["training"] == pytest.approx(0.02, abs=0.015)
    assert shares["the rest"] == pytest.approx(0.02, abs=0.015)


def test_where_nobody_asks_nothing_is_kept_and_an_error_passes() -> None:
    with spending("training"):
        pass
    with pytest.raises(ZeroDivisionError), profiled() as shares, spending("training"):
        1 / 0  # noqa: B018
    assert list(shares) == ["training", "the rest"]


def test_shares_are_shown_with_the_largest_first() -> None:
    lines = format_shares({"a": 1.0, "b": 3.0}).splitlines()
    assert lines[1].split() == ["3.00", "s", "75.0", "%", "b"] and lines[-1].split()[0] == "4.00"
