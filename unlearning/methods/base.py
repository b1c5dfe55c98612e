"""What every method is: frozen settings, the hyperparameters, with one verb, and the promise it keeps.

The promise is *never worse on validation, and no improvement by chance*. A method chooses on one half of the validation
rows (`task.choosing`) and hands its proposal to `conclude`, which asks the proposal and the unmodified model about the
other half and about the flagged rows, with the same code. The proposal is returned where it is better by more than
chance explains, and the unmodified model where it is not; see `unlearning.acceptance`.
"""

from __future__ import annotations

import abc
import dataclasses
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from unlearning.errors import InputError
from unlearning.methods import FLAGGED, METHODS, NOTHING, RIGHT_LABELS
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


TOLD_BY_ROWS: Mapping[str, frozenset[str]] = {
    "corrected": RIGHT_LABELS,
    "unflagged": FLAGGED,
    "trusted": NOTHING,
    "given": NOTHING,
}
"""What a method is told of bad rows that trains on such `rows`."""


class Took(NamedTuple):
    """How long another method took."""

    seconds: float
    """Wall-clock seconds."""
    cpu_seconds: float
    """Processor seconds."""


class Method(Settings, abc.ABC):
    """An unlearning method. Its fields are the hyperparameters; see `unlearning.settings`."""

    def __init_subclass__(cls, **options: Any) -> None:
        """Lets every method see a binary classifier with one output as one of two classes."""
        super().__init_subclass__(**options)
        if "unlearn" in vars(cls):
            cls.unlearn = _for_any_classifier(cls.unlearn)  # type: ignore[method-assign]

    @abc.abstractmethod
    def unlearn(self, model: keras.Model, task: UnlearningTask) -> UnlearningOutcome:
        """Corrects a trained model.

        Args:
            model: A trained classifier; it is not changed.
            task: Training rows as trained on, corrections, validation rows, seed.

        Returns:
            The outcome; its model is a copy of `model` unless it is better by more than chance explains.

        Raises:
            InputError: If model and task do not fit each other.
        """

    @property
    def needs_flagged(self) -> bool:
        """Whether the method, with these hyperparameters, does nothing without flagged rows."""
        return self.needs is None or bool(self.needs)

    @property
    def finds_rows(self) -> bool:
        """Whether, where no row is flagged, a detector is to find them first."""
        return False

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

    def after(self, seconds: float) -> Self:
        """Returns the method with less time, where it has a limit that a detection has used some of.

        Args:
            seconds: Wall-clock seconds that the detection took.
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


def _for_any_classifier(unlearn: Callable[..., UnlearningOutcome]) -> Callable[..., UnlearningOutcome]:
    """A method's `unlearn` that gives a model with one output back in that form."""

    @functools.wraps(unlearn)
    def unlearned(self: Method, model: keras.Model, task: UnlearningTask) -> UnlearningOutcome:
        from unlearning.interop import moved_parameters, need_tensorflow, one_output, two_classes

        need_tensorflow("A repair")
        seen = two_classes(model, task.train.images)
        outcome = unlearn(self, seen, task)
        if seen is model:
            return outcome
        repaired = one_output(outcome.model, model)
        moved = moved_parameters(model, repaired) if outcome.applied else outcome.moved
        return dataclasses.replace(outcome, model=repaired, moved=moved)

    return unlearned


def told_to(name: str, method: Method) -> frozenset[str]:
    """Returns what a method is told of bad rows, in the words of an entry's `needs`.

    Args:
        name: The name that it has been built by, registered or not.
        method: The method; what its hyperparameters say goes before what its entry says.
    """
    if method.needs is not None:
        return method.needs
    registered = METHODS.entry(name).needs if name in METHODS.names() else NOTHING
    # Entry points say nothing of needs; their methods are taken to read all that they could.
    return registered or (RIGHT_LABELS if method.needs_flagged else NOTHING)


def corrected_rows(task: UnlearningTask, *, keep_flagged: bool = True, among: np.ndarray | None = None) -> Split:
    """Returns the training rows as they should have been.

    Passes on an `InputError` if flagged rows are not to stay, and all are flagged.

    Args:
        task: The task.
        keep_flagged: Whether flagged rows stay, with their corrected labels and images; removed ones never do.
        among: int64 array of row numbers to choose from; None for all. Where none of them stays, the result is empty.

    Returns:
        Images and labels of the rows that stay, in split order.
    """
    if not keep_flagged:
        check_unflagged(task)
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


def check_unflagged(task: UnlearningTask) -> None:
    """Raises `InputError` if all rows are flagged, for methods that need others."""
    if len(task.corrections) == len(task.train):
        raise InputError(
            f"All {len(task.train)} training rows are flagged, and this method works with those that are not. Flag "
            "only the rows that are wrong, or use a method that corrects labels, such as second-order."
        )


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
    told: frozenset[str] = RIGHT_LABELS,
    details: Mapping[str, Any] | None = None,
    rows: Mapping[str, np.ndarray] | None = None,
) -> UnlearningOutcome:
    """Decides between a proposal and the unmodified model; see `unlearning.acceptance`.

    Args:
        model: The input model.
        proposal: The method's result, or None where it has none.
        task: The task; the validation rows that decide, and its flagged rows, do. Of a stage, those that choose do.
        started: `time.perf_counter()` at the start of the method.
        work: Work so far; the scoring done here is added.
        history: One mapping a step.
        solves: One report a linear solve.
        solver_log: One mapping a solver iteration.
        status: Why there is no proposal, where there is none.
        told: What the method was told of bad rows, in the words of an entry's `needs`: whatever else is known of them,
            it gets the same verdict. Without bad rows, only validation counts; where their right labels are not told, a
            flagged row counts as right where its given label is no longer said.
        details: What else the result files keep.
        rows: Lists of rows, by name.

    Returns:
        The outcome.
    """
    from unlearning.interop import copy_model, moved_parameters
    from unlearning.methods.verdict import ask

    if proposal is not None and not all(np.isfinite(weight).all() for weight in proposal.get_weights()):
        status, proposal = OutcomeStatus.NON_FINITE, None
    before, proposed = ask(model, proposal, task, told)
    scored, accepted, chosen = before.rows, None, None
    if proposed is not None:
        scored += proposed.rows
        if task.is_stage:
            better = proposed.choosing > before.choosing
            status = OutcomeStatus.IMPROVED if better else OutcomeStatus.NOTHING_IMPROVED
        else:
            accepted = before.judge(proposed)
            status = OutcomeStatus(str(accepted.verdict))
        chosen = proposal if status is OutcomeStatus.IMPROVED else None
    returned = before if chosen is None or proposed is None else proposed
    return UnlearningOutcome(
        model=copy_model(model, task.train.images) if chosen is None else chosen,
        applied=chosen is not None,
        status=status or OutcomeStatus.NOTHING_IMPROVED,
        validation_accuracy_before=before.accuracy,
        validation_accuracy_after=returned.accuracy,
        history=tuple(history),
        solves=tuple(solves),
        solver_log=tuple(solver_log),
        work=work + WorkCount(forward_rows=scored),
        duration_s=time.perf_counter() - started,
        details=details or {},
        rows=rows or {},
        acceptance=accepted,
        moved=None if proposed is None or proposal is None else moved_parameters(model, proposal),
    )
