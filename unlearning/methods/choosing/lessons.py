"""What a model is trained on in a repair, by what is known of each bad row: another label, a guess, or nothing.

A row whose label is known to be another one teaches that label. Of the others a label is guessed with a probability
`q`. To train on a right guess is worth a little, since other rows of its class teach the same; a wrong one pulls the
model back to where it was. With gain `g` and harm `h` a guess is worth more than leaving the row out where

    q g > (1 - q) h,     that is  q > h / (g + h),

and between that and no hope at all its probabilities may stand for a label. `g` and `h` depend on the noise, and nobody
tells them, so that a few policies are tried on the cheapest level and compared on the rows that choose.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from unlearning.streams import stream
from unlearning.task import REMOVED, Corrections, UnlearningTask

LEAST_OTHERS = 4096
"""So many rows that nobody flagged go along in any case, where there are that many."""
OTHERS_A_FLAGGED = 4
"""So many go along for each flagged row."""
MOST_REPEATS = 10
"""A few flagged rows among many are shown up to so many times an epoch."""
SURE = 0.8
"""A guess of at least this probability is taken for the label: to be wrong costs about four times what being right
brings (see the docs on detection)."""


@dataclasses.dataclass(frozen=True)
class Policy:
    """What becomes of flagged rows whose right label is not known, and how strongly features are pulled.

    Attributes:
        name: For people.
        guess: Least probability at which a guessed label is taken; above 1: never.
        soften: Whether guesses below that teach their probabilities instead of being left out.
        pull: Weight of the pull towards the centroids.
    """

    name: str
    guess: float
    soften: bool
    pull: float

    def without_pull(self) -> Policy:
        """Returns the same one without the pull."""
        return dataclasses.replace(self, name=f"{self.name}, without the pull", pull=0.0)


GUESSED = Policy(f"labels guessed by the repaired model where surer than {SURE:.0%}", SURE, False, 5.0)
"""For bad rows without a label: once the good rows have been closed up, the model knows what most of them are."""


@dataclasses.dataclass(frozen=True, eq=False)
class Lesson:
    """Rows and what they teach.

    Attributes:
        rows: Row numbers of the training split, int64; a row that is shown several times an epoch repeats.
        labels: int64 `(rows,)`.
        soft: float32 `(some, K)`: probabilities in place of labels, of the rows at `soft_at`.
        soft_at: Positions in `rows`, int64, ascending.
        num_classes: `K`.
    """

    rows: np.ndarray
    labels: np.ndarray
    soft: np.ndarray
    soft_at: np.ndarray
    num_classes: int

    def weights(self, positions: np.ndarray) -> np.ndarray:
        """Returns class weights, float32 `(positions, K)`."""
        found = np.zeros((len(positions), self.num_classes), np.float32)
        found[np.arange(len(positions)), self.labels[positions]] = 1.0
        if len(self.soft_at):
            place = np.minimum(np.searchsorted(self.soft_at, positions), len(self.soft_at) - 1)
            is_soft = self.soft_at[place] == positions
            found[is_soft] = self.soft[place[is_soft]]
        return found


def write_lesson(task: UnlearningTask, policy: Policy, most: int | None = None) -> Lesson:
    """Puts together what a model is trained on.

    Args:
        task: The task; flagged rows with a label teach it, those to be removed are left out or guessed.
        policy: What becomes of rows without a label.
        most: Most rows; None for all that are worth it.

    Returns:
        The lesson. All rows go along where many are flagged, a sample where few are.
    """
    flagged, given = task.corrections, task.train.labels
    probable = flagged.probabilities
    if probable is None:
        kept, soft = flagged.labels != REMOVED, np.zeros(len(flagged), bool)
        labels = flagged.labels
    else:
        # A row counts as wrong: what speaks for its given label does not teach.
        sure = probable.max(axis=1)
        kept = sure >= policy.guess
        soft = ~kept & policy.soften
        labels = np.where(kept, probable.argmax(axis=1), REMOVED)
    others = np.setdiff1d(np.arange(len(given)), flagged.rows)
    wanted = max(LEAST_OTHERS, OTHERS_A_FLAGGED * len(flagged))
    wanted = wanted if most is None else min(wanted, max(most - int(np.count_nonzero(kept | soft)), most // 2))
    order = stream(task.seed, "method", "other rows").permutation(others)
    others = order[:wanted]
    taught = np.flatnonzero(kept)
    if most is not None and len(taught) > most // 2:
        taught = stream(task.seed, "method", "taught rows").permutation(taught)[: max(1, most // 2)]
    repeats = int(np.clip(round(0.1 * len(others) / max(len(taught), 1)), 1, MOST_REPEATS))
    taught_rows = np.repeat(taught, repeats)
    softened = np.flatnonzero(soft)
    rows = np.concatenate([others, flagged.rows[taught_rows], flagged.rows[softened]])
    all_labels = np.concatenate([given[others], labels[taught_rows], np.zeros(len(softened), np.int64)])
    first = len(others) + len(taught_rows)
    weights = np.zeros((0, task.num_classes), np.float32)
    if len(softened):
        assert probable is not None
        weights = probable[softened].astype(np.float32)
    return Lesson(rows, all_labels, weights, np.arange(first, first + len(softened)), task.num_classes)


def combine_guesses(
    flagged: Corrections, unlabelled: np.ndarray, said: np.ndarray, given_labels: np.ndarray
) -> Corrections:
    """Returns flagged rows with what a repaired model says of those that have no label.

    Where a detector has probabilities of its own, the two are multiplied, as of two witnesses of whom neither has seen
    what the other one goes by. Where it is known that the given label is wrong, its probability is zero.

    Args:
        flagged: The flagged rows.
        unlabelled: Mask of those without a sure label.
        said: The model's probabilities of these, `(unlabelled, K)`.
        given_labels: Their given labels.
    """
    classes = said.shape[1]
    if flagged.probabilities is None:
        probable = np.eye(classes)[flagged.labels]
        found = said.copy()
        found[np.arange(len(found)), given_labels] = 0.0
    else:
        probable = flagged.probabilities.copy()
        found = said * probable[unlabelled]
    sums = found.sum(axis=1, keepdims=True)
    probable[unlabelled] = np.where(sums > 0, found / np.maximum(sums, 1e-300), 1 / classes)
    return dataclasses.replace(flagged, probabilities=probable)


def as_given(lesson: Lesson, task: UnlearningTask) -> Lesson:
    """Returns the same rows, and the flagged ones that it leaves out, with the labels that they were given."""
    none = np.empty(0, np.int64)
    soft = np.empty((0, lesson.num_classes), np.float32)
    flagged = task.corrections.rows
    share = np.count_nonzero(~np.isin(lesson.rows, flagged)) / max(1, len(task.train) - len(flagged))
    left_out = np.setdiff1d(flagged, lesson.rows)[: round(share * len(flagged))]
    rows = np.concatenate([lesson.rows, left_out])
    return dataclasses.replace(lesson, rows=rows, labels=task.train.labels[rows], soft=soft, soft_at=none)


def policies(task: UnlearningTask) -> list[Policy]:
    """Returns what is worth trying, the likeliest first.

    Args:
        task: The task.
    """
    flagged = task.corrections
    if flagged.probabilities is not None:
        return [
            Policy(f"relabelled where surer than {SURE:.0%}, else left out", SURE, False, 5.0),
            Policy("relabelled by probability", SURE, True, 5.0),
            Policy("all relabelled", 0.0, False, 5.0),
            Policy("left out", 2.0, False, 20.0),
        ]
    if np.any(flagged.labels == REMOVED):
        return [Policy("left out", 2.0, False, 20.0)]
    return [Policy("relabelled", 0.0, False, 0.0)]
