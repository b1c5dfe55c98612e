"""Detect, then repair: rows that a detector suspects take the place of rows that a user has flagged.

With several rounds the detector looks through the repaired model's eyes at the same rows: what a first repair made the
model forget, it can no longer mistake for knowledge. Every round repairs the original model, so that errors of
detection do not pile up; the round that is best on the rows that choose is judged. What a detector suspects is a guess,
so that suspects put right are no evidence (see `unlearning.acceptance`).

Example:
    >>> from unlearning import methods
    >>> repair = Detected(method=methods.get("second-order"), detector="neighbours")
    >>> outcome = repair.unlearn(model, task)
    >>> outcome.details["flagged_by"][0]["round"]
    1
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from unlearning import detection
from unlearning.methods import NOTHING
from unlearning.methods.base import Method, Took, conclude
from unlearning.settings import Positive
from unlearning.task import REMOVED, Corrections, UnlearningOutcome, UnlearningTask, WorkCount

if TYPE_CHECKING:
    import keras

    from unlearning.detection.base import Detector
    from unlearning.training import TrainSettings

Suspects = Literal["relabel", "remove"]

_JUDGED = (
    *("model", "applied", "status", "acceptance", "validation_accuracy_before", "validation_accuracy_after"),
    *("work", "duration_s", "moved"),
)
"""What is that of the repair as a whole; the rest is that of its best round."""


class Detected(Method):
    """A method whose flagged rows are a detector's suspects."""

    method: Method
    """What repairs."""
    detector: str
    """Registered name of what finds the rows."""
    options: Mapping[str, Any] = Field(default_factory=dict)
    """Its options, where they are not the detector's own."""
    suspects: Suspects = "relabel"
    """`"relabel"` gives suspects their suggested label (and removes those for which it is the given one), `"remove"`
    removes them all."""
    rounds: Positive = 1
    """Detections and repairs; all but the first detect with the model that the one before has repaired."""

    @model_validator(mode="after")
    def _check(self) -> Detected:
        self.build_detector()
        return self

    @property
    def needs_flagged(self) -> bool:
        """See `Method.needs_flagged`: the detector flags."""
        return False

    @property
    def needs(self) -> frozenset[str]:
        """See `Method.needs`: the detector flags, and suggests labels."""
        return NOTHING

    def config(self) -> dict[str, Any]:
        """See `Method.config`."""
        return {
            "method": self.method.config(),
            "detector": {"name": self.detector, **self.build_detector().config()},
            "suspects": self.suspects,
            "rounds": self.rounds,
        }

    def build_detector(self) -> Detector:
        """Returns the detector, and raises `InputError` if there is none of that name or with such options."""
        return detection.get(self.detector, self.options)

    def adapt(self, recipe: TrainSettings) -> Detected:
        """See `Method.adapt`."""
        return self.changed(method=self.method.adapt(recipe))

    def after(self, seconds: float) -> Detected:
        """See `Method.after`."""
        return self.changed(method=self.method.after(seconds))

    def waits_for(self) -> tuple[str, ...]:
        """See `Method.waits_for`."""
        return self.method.waits_for()

    def resolve(self, durations: Mapping[str, Took]) -> Detected:
        """See `Method.resolve`."""
        return self.changed(method=self.method.resolve(durations))

    def unlearn(self, model: keras.Model, task: UnlearningTask) -> UnlearningOutcome:
        """See `Method.unlearn`.

        Args:
            model: A trained classifier; it is not changed.
            task: The task; its corrections are not looked at. Its suspects, if any, are those of the first round.

        Returns:
            The outcome of the best round; `details["flagged_by"]` says what each round suspected.
        """
        from unlearning.evaluation import accuracy

        started = time.perf_counter()
        detector = self.build_detector()
        seen, best, best_score, best_task, rounds, work = model, None, -1.0, task, [], WorkCount()
        suspects = task.suspects
        for number in range(1, self.rounds + 1):
            if suspects is None:
                more = () if task.known is None else (task.known,)  # detectors of others may take none
                found = detector.detect(seen, task.train, task.num_classes, task.seed, *more)
                suspects = found.suspected()
                work += WorkCount(forward_rows=len(task.train))  # at least; probes count their own training nowhere
            flagged = with_known(
                suspected_corrections(suspects, task.train.labels, self.suspects), task.train.labels, task.known
            )
            told = dataclasses.replace(task, corrections=flagged, suspects=suspects, is_stage=True)
            outcome = self.method.unlearn(model, told)
            score = accuracy(outcome.model, task.choosing)
            work += outcome.work + WorkCount(forward_rows=len(task.choosing))
            rounds.append(
                {
                    "round": number,
                    "suspects": len(flagged),
                    "removed": int(np.count_nonzero(flagged.labels == REMOVED)),
                    "validation_accuracy": score,
                }
            )
            if best is None or score > best_score:
                best, best_score, best_task = outcome, score, told
            seen, suspects = outcome.model, None
            if not outcome.applied:
                break  # the next round would see what this one has seen
        assert best is not None
        judged = conclude(
            model,
            best.model if best.applied else None,
            dataclasses.replace(best_task, is_stage=task.is_stage),
            started=started,
            work=work,
            status=None if best.applied else best.status,
            told=NOTHING,
        )
        return dataclasses.replace(
            best,
            **{name: getattr(judged, name) for name in _JUDGED},
            details={**best.details, "flagged_by": rounds},
        )


def suspected_corrections(suspected: Corrections, given: np.ndarray, suspects: Suspects) -> Corrections:
    """Returns what a method is told about suspects.

    Args:
        suspected: Suspects with suggested labels.
        given: The given labels of all rows.
        suspects: See `Detected`.

    Returns:
        The same rows; a suggestion that is the given label corrects nothing, so that the row is removed.
    """
    if suspects == "remove":
        return Corrections(suspected.rows, np.full(len(suspected), REMOVED))
    labels = np.where(suspected.labels == given[suspected.rows], REMOVED, suspected.labels)
    return dataclasses.replace(suspected, labels=labels)


def with_known(suspected: Corrections, given: np.ndarray, known: Corrections | None) -> Corrections:
    """Returns what a method is told where some rows are known and others suspected.

    Args:
        suspected: What it is told about suspects.
        given: The given labels of all rows.
        known: What is known of some rows; None for nothing.

    Returns:
        The known rows that are wrong, and the suspects of which nothing is known.
    """
    if known is None or not len(known):
        return suspected
    wrong = known.subset(known.labels != given[known.rows])
    others = suspected.subset(~np.isin(suspected.rows, known.rows))
    probabilities = None
    if others.probabilities is not None:
        told = np.eye(others.probabilities.shape[1])[wrong.labels]
        unlabelled = wrong.labels == REMOVED
        told[unlabelled] = 1.0 / told.shape[1]  # below any line at which a guess is taken
        probabilities = np.concatenate([told, others.probabilities])
    return Corrections(
        np.concatenate([wrong.rows, others.rows]),
        np.concatenate([wrong.labels, others.labels]),
        probabilities=probabilities,
    )
