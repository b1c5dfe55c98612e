"""Clean models and false alarms: rows flagged as bad whose labels were right."""

from __future__ import annotations

import dataclasses
import functools
from unittest import mock

import keras
import numpy as np
from sklearn.datasets import load_digits

from support.small import fitted
from unlearning import acceptance
from unlearning.evaluation import predict
from unlearning.methods.base import Method
from unlearning.task import REMOVED, Corrections, OutcomeStatus, Split, UnlearningTask

_TRAIN, _VALIDATION = 900, 270
_FLAGGED = 60

TOLD = ("relabelled", "removed", "nothing")
"""What a method is told of the flagged rows: other labels, that they are to go, or nothing at all."""


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """A model and what is known of it.

    Attributes:
        model: Trained on `task.train`.
        task: Its task, with flagged rows relabelled.
        test: Rows with true labels.
    """

    model: keras.Model
    task: UnlearningTask
    test: Split


Counts = tuple[int, int, int]
"""Rows, and those of them gained and lost."""


@dataclasses.dataclass(frozen=True)
class Run:
    """What a method proposed for a case; whether it is taken follows (`verdict`).

    Attributes:
        seed: Seed of the case.
        method: Name of the method.
        told: One of `TOLD`.
        deciding: On the validation rows that decide; None where nothing was proposed.
        everything: On all validation rows.
        flagged: Flagged rows put right; None where that does not count.
        test: On the test rows.
        taken_before: Whether the rule before, any gain on the rows that chose, took what the method proposed then.
        test_before: Of that model, on the test rows.
    """

    seed: int
    method: str
    told: str
    deciding: Counts | None
    everything: Counts | None
    flagged: Counts | None
    test: Counts
    taken_before: bool
    test_before: Counts

    def verdict(self) -> str:
        """Returns what the present rule says."""
        if self.deciding is None or self.everything is None:
            return str(OutcomeStatus.NOTHING_IMPROVED)
        flagged = None if self.flagged is None else paired(self.flagged)
        return str(acceptance.judge(paired(self.deciding), paired(self.everything), flagged).verdict)


def paired(counts: Counts) -> acceptance.Paired:
    """Returns counts as what tests are made on; shares are not known any more."""
    return acceptance.Paired(counts[0], None, None, *counts[1:])


def draw_case(seed: int, *, flips: int = 0, epochs: int = 25) -> Case:
    """Divides the digits at random and trains a small network on them.

    Args:
        seed: Seed of everything.
        flips: Number of training rows with a wrong label; those are flagged then, with their true label. With none, 60
            rows with right labels are flagged, with a wrong one. The validation labels are as wrong as the training
            labels.
        epochs: Passes over the training rows.

    Returns:
        The model, its task and test rows.
    """
    rng = np.random.default_rng((seed, 4711))
    digits = load_digits()
    images, labels = digits.images[..., None].astype(np.float32) / 16, digits.target.astype(np.int64)
    train, validation, test = np.split(rng.permutation(len(labels)), [_TRAIN, _TRAIN + _VALIDATION])
    given, held_out = labels[train].copy(), labels[validation].copy()
    flagged = rng.choice(len(given), flips or _FLAGGED, replace=False)
    wrong = (given[flagged] + rng.integers(1, 10, len(flagged))) % 10
    corrected = given[flagged] if flips else wrong
    if flips:
        given[flagged] = wrong
        bad = rng.choice(len(held_out), flips * len(held_out) // len(given), replace=False)
        held_out[bad] = (held_out[bad] + rng.integers(1, 10, len(bad))) % 10
    task = UnlearningTask(
        train=Split(images[train], given),
        corrections=Corrections(flagged, corrected),
        validation=Split(images[validation], held_out),
        num_classes=10,
        seed=seed,
    )
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Flatten(),
            layers.Dense(48, activation="relu"),
            layers.Dense(24, activation="relu"),
            layers.Dense(10),
        ]
    )
    fitted(model, task.train, epochs=epochs, learning_rate=0.005)
    return Case(model, task, Split(images[test], labels[test]))


def tell(task: UnlearningTask, told: str) -> UnlearningTask:
    """Returns a task as one of `TOLD` has it."""
    flagged = task.corrections
    if told == "nothing":
        return dataclasses.replace(task, corrections=Corrections.none())
    if told == "removed":
        return dataclasses.replace(task, corrections=Corrections(flagged.rows, np.full_like(flagged.rows, REMOVED)))
    return task


class _AnyGain(UnlearningTask):
    """A task under the rule before: all validation rows choose, and any gain on them is taken."""

    @functools.cached_property
    def choosing(self) -> Split:
        return self.validation

    @functools.cached_property
    def deciding_rows(self) -> np.ndarray:
        return np.empty(0, np.int64)


def run(name: str, method: Method, case: Case, told: str) -> Run:
    """Runs a method twice, as it is and under the rule before, and asks the test rows."""
    task = tell(case.task, told)
    judged: list[tuple[acceptance.Paired, acceptance.Paired, acceptance.Paired | None]] = []

    def take(*numbers: acceptance.Paired) -> acceptance.Acceptance:
        judged.append(numbers)
        return acceptance.Acceptance(numbers[0], numbers[2], acceptance.Verdict.IMPROVED)

    with mock.patch.object(acceptance, "judge", take):
        proposed = method.unlearn(case.model, task)
    greedy = _AnyGain(**{field.name: getattr(task, field.name) for field in dataclasses.fields(task)})
    before = method.unlearn(case.model, dataclasses.replace(greedy, is_stage=True))
    given, now, then = (
        predict(model, case.test.images).argmax(-1) == case.test.labels
        for model in (case.model, proposed.model, before.model)
    )
    numbers = judged[0] if judged else (None, None, None)
    return Run(
        task.seed,
        name,
        told,
        *(None if found is None else _counts(found) for found in numbers),
        test=_counts(acceptance.compare(given, now)),
        taken_before=before.applied,
        test_before=_counts(acceptance.compare(given, then)),
    )


def is_worse(test: Counts) -> bool:
    """Whether more rows are lost than chance explains."""
    return paired(test).p_worse <= acceptance.LEVEL


def _counts(found: acceptance.Paired) -> Counts:
    return found.rows, found.gained, found.lost
