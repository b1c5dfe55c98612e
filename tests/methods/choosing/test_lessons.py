"""What a model is taught, by what is known of each bad row."""

import numpy as np
import pytest

from unlearning.errors import InputError
from unlearning.methods.choosing import lessons
from unlearning.methods.choosing.lessons import Policy, as_given, policies, write_lesson
from unlearning.task import REMOVED, Corrections, Split, UnlearningTask

PLAIN = Policy("relabelled", 0.0, False, 0.0)
SURE = Policy("sure", 0.8, False, 5.0)
SOFT = Policy("soft", 0.8, True, 5.0)


def make_task(corrections: Corrections, rows: int = 60, seed: int = 3) -> UnlearningTask:
    labels = np.arange(rows) % 3
    split = Split(np.zeros((rows, 2, 2, 1), np.float32), labels)
    return UnlearningTask(split, corrections, split, 3, seed=seed)


def test_rows_with_a_label_teach_it_and_removed_ones_nothing() -> None:
    task = make_task(Corrections(np.array([0, 1, 5]), np.array([2, REMOVED, 1])))
    lesson = write_lesson(task, PLAIN)
    taught = dict(zip(lesson.rows.tolist(), lesson.labels.tolist(), strict=True))
    assert taught[0] == 2 and taught[5] == 1 and 1 not in taught
    assert sorted(lesson.rows.tolist()).count(2) == 1 and len(set(lesson.rows.tolist())) == 59


def test_few_flagged_rows_are_shown_often_and_the_others_are_a_sample(monkeypatch) -> None:
    """The cost follows what is wrong and not how much data there are."""
    monkeypatch.setattr(lessons, "LEAST_OTHERS", 200)
    task = make_task(Corrections(np.array([0, 3]), np.array([1, 2])), rows=3000)
    lesson = write_lesson(task, PLAIN)
    counts = {row: int(np.count_nonzero(lesson.rows == row)) for row in (0, 3)}
    assert counts == {0: lessons.MOST_REPEATS, 3: lessons.MOST_REPEATS}
    assert len(lesson.rows) == 200 + 2 * lessons.MOST_REPEATS


def test_many_flagged_rows_go_along_with_all_others() -> None:
    flagged = np.arange(0, 60, 2)
    task = make_task(Corrections(flagged, (task_labels(60)[flagged] + 1) % 3))
    lesson = write_lesson(task, PLAIN)
    assert sorted(lesson.rows.tolist()) == list(range(60))


def test_a_limit_on_rows_is_kept_and_leaves_room_for_both() -> None:
    flagged = np.arange(0, 400, 2)
    task = make_task(Corrections(flagged, (task_labels(600)[flagged] + 1) % 3), rows=600)
    lesson = write_lesson(task, PLAIN, most=100)
    assert len(lesson.rows) <= 100
    is_flagged = np.isin(lesson.rows, flagged)
    assert 40 <= np.count_nonzero(is_flagged) <= 50 and np.count_nonzero(~is_flagged) == 50


@pytest.fixture
def guessed() -> UnlearningTask:
    """Of three rows with given labels 0, 1, 2: a sure guess, an unsure one, and one without a clue."""
    probable = np.array([[0.05, 0.9, 0.05], [0.6, 0.1, 0.3], [1 / 3, 1 / 3, 1 / 3]])
    return make_task(Corrections(np.array([0, 1, 2]), np.array([1, 0, REMOVED]), probabilities=probable))


def test_sure_guesses_are_taken_and_others_left_out(guessed: UnlearningTask) -> None:
    lesson = write_lesson(guessed, SURE)
    taught = dict(zip(lesson.rows.tolist(), lesson.labels.tolist(), strict=True))
    assert taught[0] == 1 and 1 not in taught and 2 not in taught


def test_unsure_guesses_teach_their_probabilities_where_that_is_asked(guessed: UnlearningTask) -> None:
    lesson = write_lesson(guessed, SOFT)
    weights = {int(row): w for row, w in zip(lesson.rows, lesson.weights(np.arange(len(lesson.rows))), strict=True)}
    np.testing.assert_allclose(weights[0], [0, 1, 0])
    np.testing.assert_allclose(weights[1], [0.6, 0.1, 0.3], rtol=1e-6)
    np.testing.assert_allclose(weights[5], [0, 0, 1])
    assert all(abs(w.sum() - 1) < 1e-6 for w in weights.values())


def test_the_control_shows_the_same_rows_with_their_given_labels(guessed: UnlearningTask) -> None:
    lesson = write_lesson(guessed, SOFT)
    control = as_given(lesson, guessed)
    assert set(control.rows.tolist()) == set(range(60)) >= set(lesson.rows.tolist())
    np.testing.assert_array_equal(control.weights(np.arange(len(control.rows))).argmax(1), control.rows % 3)


def test_what_is_tried_follows_from_what_is_known(guessed: UnlearningTask) -> None:
    def tried(corrections: Corrections) -> list[str]:
        return [policy.name for policy in policies(make_task(corrections))]

    known = Corrections(np.array([0]), np.array([1]))
    unlabelled = Corrections(np.array([0, 1]), np.array([REMOVED, 2]))
    assert len(tried(known)) == 1 == len(tried(unlabelled)) and all(
        policy.pull == 0 for policy in policies(make_task(known))
    )
    assert policies(make_task(unlabelled))[0].pull > 0 and len(policies(guessed)) == 4


@pytest.mark.parametrize(
    ("probabilities", "named"),
    [
        (np.array([0.5, 0.5, 0.0]), "probability"),
        (np.array([[0.5, 0.2, 0.1]]), "sum to one"),
        (np.array([[1.5, -0.5, 0.0]]), "at least 0"),
        (np.array([[np.nan, 0.5, 0.5]]), "finite"),
        (np.array([[0.5, 0.5]]), "3 classes"),
    ],
)
def test_probabilities_that_are_none_are_refused(probabilities: np.ndarray, named: str) -> None:
    with pytest.raises(InputError, match=named):
        make_task(Corrections(np.array([0]), np.array([1]), probabilities=probabilities))


def task_labels(rows: int) -> np.ndarray:
    return np.arange(rows) % 3
