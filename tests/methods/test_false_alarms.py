"""Clean models whose rows are flagged nevertheless; `tests/benchmarks/false_alarms.py` does it for twenty seeds."""

from __future__ import annotations

import pytest

from support.false_alarms import Case, draw_case, is_worse, run
from unlearning import methods

RETRAINING = {"epochs": 25, "recipe": {"learning_rate": 0.005, "batch_size": 32}}
FINE_TUNING = {"epochs": 4, "batch_size": 32}


@pytest.fixture(scope="module")
def clean() -> list[Case]:
    return [draw_case(seed) for seed in range(3)]


@pytest.mark.slow
def test_fitting_wrong_labels_is_no_improvement(clean) -> None:
    """Retraining puts the flagged rows "right", beyond chance, and is worse for it."""
    runs = [run("retraining", methods.get("retraining", RETRAINING), case, "relabelled") for case in clean]
    assert all(found.flagged[1] >= 5 and found.flagged[2] == 0 for found in runs)
    assert sum(is_worse(found.test) for found in runs) >= 2
    assert not any(found.verdict() == "improved" and is_worse(found.test) for found in runs)


@pytest.mark.slow
def test_the_best_of_many_is_no_improvement(clean) -> None:
    """The rule before took what the rows that chose liked best."""
    runs = [run("fine-tuning", methods.get("fine-tuning", FINE_TUNING), case, "relabelled") for case in clean]
    assert any(found.taken_before for found in runs)
    assert not any(found.verdict() == "improved" for found in runs)


def test_a_repair_is_one() -> None:
    """As many wrong labels as a tenth of the rows, all of them flagged."""
    case = draw_case(1, flips=90, epochs=40)
    found = run("second-order", methods.get("second-order"), case, "relabelled")
    assert found.verdict() == "improved" and found.flagged[1] > 10
    assert found.test[1] > found.test[2] + 5
