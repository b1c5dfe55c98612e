"""Flagged rows as cleanlab writes them, and by the names of classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from unlearning.errors import InputError
from unlearning.repairs.flagged import read_flagged, take_flagged
from unlearning.task import REMOVED, Split

GIVEN = np.array([0, 1, 2, 0, 1, 2])
TRAIN = Split(np.zeros((6, 2), np.float32), GIVEN)
NAMES = ("cat", "dog", "owl")
ISSUES = pd.DataFrame(
    {
        "is_label_issue": [True, False, False, True, False, True],
        "label_score": [0.1, 0.9, 0.8, 0.2, 0.7, 0.3],
        "given_label": GIVEN,
        "predicted_label": [1, 1, 2, 2, 1, 2],
    }
)
FOUND = {0: 1, 3: 2, 5: REMOVED}  # of row 5 no other label is predicted


def told(path: Path, **options) -> dict[int, int]:
    found = read_flagged(path, 6, 3, GIVEN, **options)
    return dict(zip(found.rows.tolist(), found.labels.tolist(), strict=True))


@pytest.mark.parametrize("index", [True, False])
def test_the_table_of_issues(tmp_path: Path, index: bool) -> None:
    ISSUES.to_csv(tmp_path / "issues.csv", index=index)
    assert told(tmp_path / "issues.csv") == FOUND
    named = ISSUES.assign(**{name: [NAMES[k] for k in ISSUES[name]] for name in ("given_label", "predicted_label")})
    named.to_csv(tmp_path / "named.csv", index=index)
    assert told(tmp_path / "named.csv", class_names=NAMES) == FOUND


def test_as_a_table_in_memory_and_in_any_order() -> None:
    found = take_flagged(ISSUES.sort_values("label_score"), TRAIN, 3)
    assert dict(zip(found.rows.tolist(), found.labels.tolist(), strict=True)) == FOUND


def test_rows_sorted_by_quality_keep_their_numbers(tmp_path: Path) -> None:
    ISSUES.sort_values("label_score", ascending=False).to_csv(tmp_path / "a.csv")
    assert told(tmp_path / "a.csv") == FOUND


def test_without_predicted_labels_rows_are_removed(tmp_path: Path) -> None:
    ISSUES[["is_label_issue", "label_score"]].to_csv(tmp_path / "a.csv")
    assert told(tmp_path / "a.csv") == dict.fromkeys(FOUND, REMOVED)


def test_issues_of_other_data_are_refused(tmp_path: Path) -> None:
    ISSUES.iloc[::-1].to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(InputError, match="other data"):
        told(tmp_path / "a.csv")


def test_what_cleanlab_itself_returns(tmp_path: Path) -> None:
    cleanlab = pytest.importorskip("cleanlab.classification")
    rng = np.random.default_rng(0)
    true = rng.integers(0, 3, 300)
    given = np.where(rng.random(300) < 0.15, (true + 1) % 3, true)
    probabilities = np.full((300, 3), 0.05)
    probabilities[np.arange(300), true] = 0.9
    issues = cleanlab.CleanLearning().find_label_issues(labels=given, pred_probs=probabilities)
    issues.to_csv(tmp_path / "a.csv")
    for found in (
        read_flagged(tmp_path / "a.csv", 300, 3, given),
        take_flagged(issues, Split(np.zeros((300, 2)), given), 3),
    ):
        assert sorted(found.rows) == np.flatnonzero(issues["is_label_issue"]).tolist()
        np.testing.assert_array_equal(found.labels, true[found.rows])


def test_labels_by_name_in_a_table(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("row,given_label,corrected_label\n0,cat,dog\n1,1,owl\n2,owl,0\n3,cat,\n")
    assert told(tmp_path / "a.csv", class_names=NAMES) == {0: 1, 1: 2, 2: 0, 3: REMOVED}
    with pytest.raises(InputError, match="not the given_label 'dog'"):
        (tmp_path / "b.csv").write_text("row,given_label,corrected_label\n0,dog,owl\n")
        told(tmp_path / "b.csv", class_names=NAMES)
    with pytest.raises(InputError, match=r"expected an integer in 0\.\.2, received 'bird'"):
        (tmp_path / "c.csv").write_text("row,corrected_label\n0,bird\n")
        told(tmp_path / "c.csv", class_names=NAMES)


def test_names_that_look_like_numbers_do_not_change_numbers(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("row,corrected_label\n0,1\n")
    assert told(tmp_path / "a.csv", class_names=("1", "2", "0")) == {0: 1}
