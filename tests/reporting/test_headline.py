"""What the page calls a control, a gold standard and the best."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.report_trees import change, make_tree
from unlearning.reporting.page.gather import gather
from unlearning.reporting.page.headline import find_tag, headline


@pytest.mark.parametrize(
    ("method", "tag"),
    [
        ("second-order", ""),
        ("scrub", ""),
        ("sap+second-order", ""),
        ("ssd", "control"),
        ("fine-tuning-trusted", "control"),
        ("retraining-unflagged", "gold standard"),
        ("retraining-by-strangers", ""),
    ],
)
def test_the_registry_says_what_is_there_for_comparison(method: str, tag: str) -> None:
    assert find_tag(method) == tag


@pytest.mark.parametrize(("method", "best"), [("retraining", "sap"), ("magic", "first-order")])
def test_a_gold_standard_is_never_the_best_but_a_stranger_may_be(method: str, best: str, tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "e", (1000,), (42,), ("sap", "first-order"))
    for name, values in (("sap", {"acc_after_fix": 0.6}), ("first-order", {"method": method, "acc_after_fix": 0.9})):
        change(tree / "budget-1000/seed-42" / name / "unlearning_results.json", **values)
    (shown,) = gather([tree]).experiments
    assert [row["name"] for row in headline(shown) if row["best"]] == [best]
