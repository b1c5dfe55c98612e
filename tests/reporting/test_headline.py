"""What is called the best, and what the page says first: one rule for page, terminal and headline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from support.paths import PUBLISHED
from unlearning.experiments.results.reader import read_folders
from unlearning.records import UnlearningResults
from unlearning.reporting.page.answer import Answer, answers
from unlearning.reporting.page.gather import gather
from unlearning.reporting.page.headline import headline
from unlearning.reporting.ranking import find_tag, rank, rows_explain
from unlearning.reporting.tables import format_results
from unlearning.reporting.tables.text import BEST, TIE


@pytest.fixture(scope="module")
def record() -> UnlearningResults:
    (found,) = [
        repair.ours
        for repair in read_folders([PUBLISHED / "digits-cnn_small-flip-pairs"]).repairs()
        if (repair.name, repair.seed) == ("second-order", 42)
    ]
    assert found is not None
    return found


def several(record: UnlearningResults, accuracies: Mapping[str, Sequence[float]], rows: int = 10_000, **fields):
    """Results of seeds 0, 1, ... by the name of each repair."""
    return [
        (
            name,
            record.model_copy(
                update={
                    **{"variant": name, "seed": seed, "acc_before_fix": 0.5, "acc_after_fix": value},
                    **{"confusion_after": [[rows, 0], [0, 0]] if rows else None, "class_report_after": None},
                    **fields,
                }
            ),
        )
        for name, values in accuracies.items()
        for seed, value in enumerate(values)
    ]


@pytest.mark.parametrize(
    ("accuracies", "rows", "standings"),
    [
        ({"a": (0.8, 0.82, 0.84), "b": (0.7, 0.72, 0.74)}, 10_000, {"a": "best"}),
        # Each seed is ahead, but by less than so few test rows tell.
        ({"a": (0.80, 0.82, 0.84), "b": (0.79, 0.81, 0.83)}, 100, {"a": "tie", "b": "tie"}),
        ({"a": (0.80, 0.72, 0.84), "b": (0.70, 0.74, 0.74)}, 10_000, {"a": "tie", "b": "tie"}),
        ({"a": (0.8, 0.82, 0.84), "b": (0.799, 0.82, 0.84), "c": (0.6, 0.6, 0.6)}, 10_000, {"a": "tie", "b": "tie"}),
        ({"a": (0.8,), "b": (0.7,)}, 10_000, {"a": "ahead"}),
        ({"a": (0.8,), "b": (0.795,)}, 10_000, {"a": "tie", "b": "tie"}),
        ({"a": (0.8,), "b": (0.7,)}, 0, {}),
        ({"a": (0.8, 0.82, 0.84)}, 10_000, {}),
        ({"a": (0.4, 0.42, 0.44), "b": (0.3, 0.32, 0.34)}, 10_000, {}),
    ],
    ids=["clear", "test rows", "seeds", "third", "one seed", "one seed, near", "unknown rows", "no rival", "no help"],
)
def test_best_is_more_than_chance(record, accuracies, rows: int, standings: dict[str, str]) -> None:
    results = several(record, accuracies, rows)
    assert rank(results) == standings
    text = format_results([result for _, result in results], width=140)
    marks = {mark: [line for line in text.splitlines() if f" {mark} " in line] for mark in (BEST, TIE)}
    assert len(marks[BEST]) == list(standings.values()).count("best")
    assert len(marks[TIE]) == list(standings.values()).count("tie")


def test_only_repairs_of_one_protocol_are_rivals(record) -> None:
    known = several(record, {"a": (0.8, 0.82, 0.84)})
    config = record.config.model_copy(update={"validation": "clean"})
    assert rank([*known, *several(record, {"b": (0.7, 0.72, 0.74)}, config=config)]) == {}
    config = record.config.model_copy(update={"known_share": 0.5})
    assert rank([*known, *several(record, {"b": (0.7, 0.72, 0.74)}, config=config)]) == {}
    assert rank([*known, *several(record, {"b": (0.7, 0.72, 0.74)})]) == {"a": "best"}


def test_test_rows_explain_what_a_binomial_says() -> None:
    assert rows_explain(0.9, 270) == pytest.approx(1.96 * (0.9 * 0.1 / 270) ** 0.5)
    assert rows_explain(1.0, 100) == 0.01


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


@pytest.mark.parametrize("method", ["retraining-unflagged", "fine-tuning", "magic"])
def test_gold_standards_controls_and_strangers_are_no_rivals(record, method: str) -> None:
    """What the registry does not know was told nobody knows what."""
    rivals = several(record, {"a": (0.8, 0.82, 0.84), "b": (0.7, 0.72, 0.74)})
    assert rank([*rivals, *several(record, {"c": (0.9, 0.9, 0.9)}, method=method)]) == {"a": "best"}


def answer_of(name: str, budget: int = 0) -> Answer:
    (shown,) = gather([PUBLISHED / name]).experiments
    return answers(shown, headline(shown))[budget]


class TestAnswers:
    def test_half_of_the_labels(self) -> None:
        answer = answer_of("cifar10-20000-cnn_small-symmetric", 1)
        text = answer.text.replace("\u00a0", " ")
        assert answer.wrong == "Half of the labels wrong"
        assert text.startswith("fspmu-short (milestones), told which rows are bad, brought back 83 % of the lost")
        assert "not told apart from retraining without the bad rows (67.1 ± 0.8 % and 67.2 ± 1.6 %, 3 seeds)" in text
        assert "Not told apart from it: fspmu-retain-only" in text
        assert [bar.told for bar in answer.bars][:2] == ["told which rows are bad", "told nothing, bad rows detected"]
        assert 82 < answer.bars[0].filled < 85

    def test_a_control_that_reached_more_is_named(self) -> None:
        text = answer_of("cifar10-20000-cnn_small-symmetric").text.replace("\u00a0", " ")
        assert "The control fine-tuning (constant) reached more: 69.7 ± 1.4 %" in text

    def test_true_validation_labels_are_nobodys_headline(self) -> None:
        text = answer_of("cifar10-cnn_small-flip-pairs").text
        assert text.startswith("second-order, told the right labels, brought back") and "one seed" in text
