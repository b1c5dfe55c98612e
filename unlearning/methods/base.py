"""What every method is: frozen settings, the hyperparameters, with one verb, and the promise it keeps.

The promise is *never worse on validation*. A method hands its proposal to `conclude`, which scores the proposal and the
unmodified model with the same code on the task's validation rows and returns whichever is better, saying so.
"""

from __future__ import annotations

import abc
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from unlearning.settings import Settings
from unlearning.task import (
    REMOVED,
    OutcomeStatus,
    SolveReport,
    Split,
    UnlearningOutcome,
    UnlearningTask,
    WorkCount,
)

if TYPE_CHECKING:
    import keras

    from unlearning.training import TrainSettings


class Took(NamedTuple):
    """How long another method took."""

    seconds: float
    """Wall-clock seconds."""
    cpu_seconds: float
    """Processor seconds."""


class Method(Settings, abc.ABC):
    """An unlearning method. Its fields are the hyperparameters; see `unlearning.settings`."""

    @abc.abstractmethod
    def unlearn(self, model: keras.Model, task: UnlearningTask) -> UnlearningOutcome:
        """Corrects a trained model.

        Args:
            model: A trained classifier; it is not changed.
            task: Training rows as trained on, corrections, validation rows, seed.

        Returns:
            The outcome; its model is never worse than `model` on the task's validation rows.

        Raises:
            InputError: If model and task do not fit each other.
        """

    @property
    def needs_flagged(self) -> bool:
        """Whether the method, with these hyperparameters, does nothing without flagged rows."""
        return True

    @property
    def needs(self) -> frozenset[str] | None:
        """What it needs to be told of bad rows where its hyperparameters decide that; None: what its entry says."""
        return None

    def adapt(self, recipe: TrainSettings) -> Self:
        """Returns the method with what it left open filled in from the recipe that the model was trained with.

        Args:
            recipe: How the model was trained.
        """
        return self

    def waits_for(self) -> tuple[str, ...]:
        """Returns the names of results, in the same cell of an experiment, whose durations the method asks for."""
        return ()

    def resolve(self, durations: Mapping[str, Took]) -> Self:
        """Returns the method with the durations that it waits for filled in.

        Args:
            durations: What the others took, by name.
        """
        return self


def corrected_rows(task: UnlearningTask, *, keep_flagged: bool = True, among: np.ndarray | None = None) -> Split:
    """Returns the training rows as they should have been.

    Args:
        task: The task.
        keep_flagged: Whether flagged rows stay, with their corrected labels and images; removed ones never do.
        among: int64 array of row numbers to choose from; None for all. Where none of them stays, the result is empty.

    Returns:
        Images and labels of the rows that stay, in split order.
    """
    flagged = task.corrections
    labels = task.train.labels.copy()
    labels[flagged.rows] = flagged.labels if keep_flagged else REMOVED
    if keep_flagged and flagged.images is not None:
        images = np.array(task.train.images)
        images[flagged.rows] = flagged.images
    else:
        images = task.train.images
    kept = np.flatnonzero(labels != REMOVED)
    kept = kept if among is None else np.intersect1d(kept, among)
    rows = Split(images, labels)
    return rows if len(kept) == len(labels) else rows.subset(kept)


def conclude(
    model: keras.Model,
    proposal: keras.Model | None,
    task: UnlearningTask,
    *,
    started: float,
    work: WorkCount,
    history: Sequence[Mapping[str, Any]] = (),
    solves: Sequence[SolveReport] = (),
    solver_log: Sequence[Mapping[str, Any]] = (),
    status: OutcomeStatus | None = None,
    scores: tuple[float, float] | None = None,
    details: Mapping[str, Any] | None = None,
    rows: Mapping[str, np.ndarray] | None = None,
) -> UnlearningOutcome:
    """Scores a proposal against the unmodified model and returns the better one.

    Args:
        model: The input model.
        proposal: The method's result, or None where it has none.
        task: The task; its validation split decides.
        started: `time.perf_counter()` at the start of the method.
        work: Work so far; the scoring done here is added.
        history: One mapping a step.
        solves: One report a linear solve.
        solver_log: One mapping a solver iteration.
        status: Why there is no proposal, where there is none.
        scores: Validation accuracies of model and proposal, where `accuracy` has already measured them.
        details: What else the result files keep.
        rows: Lists of rows, by name.

    Returns:
        The outcome.
    """
    from unlearning.evaluation import accuracy
    from unlearning.interop import copy_model

    before = accuracy(model, task.validation) if scores is None else scores[0]
    scored, chosen, after = len(task.validation) if scores is None else 0, None, before
    if proposal is not None:
        scored *= 2
        if not all(np.isfinite(weight).all() for weight in proposal.get_weights()):
            status = OutcomeStatus.NON_FINITE
        else:
            score = accuracy(proposal, task.validation) if scores is None else scores[1]
            if score > before:
                chosen, after, status = proposal, score, OutcomeStatus.IMPROVED
    return UnlearningOutcome(
        model=copy_model(model) if chosen is None else chosen,
        applied=chosen is not None,
        status=status or OutcomeStatus.NOTHING_IMPROVED,
        validation_accuracy_before=before,
        validation_accuracy_after=after,
        history=tuple(history),
        solves=tuple(solves),
        solver_log=tuple(solver_log),
        work=work + WorkCount(forward_rows=scored),
        duration_s=time.perf_counter() - started,
        details=details or {},
        rows=rows or {},
    )
