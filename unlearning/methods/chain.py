"""Several methods one after the other, each on what the one before returned.

A stage is kept where it is better than its input on the rows that choose; what comes out at the end is judged once, as
any repair (see `unlearning.acceptance`). History, solves, work and time are those of all stages.

Example:
    >>> from unlearning.methods import get
    >>> get("sap+second-order", {"second-order.steps": 4}).config()["second-order"]["steps"]
    4
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from unlearning.methods.base import Method, Took, conclude, told_to
from unlearning.task import OutcomeStatus, UnlearningOutcome, UnlearningTask, WorkCount

if TYPE_CHECKING:
    import keras

    from unlearning.training import TrainSettings


class Chain(Method):
    """A sequence of methods."""

    stages: tuple[tuple[str, Method], ...]
    """Names and methods, in order."""

    def config(self) -> dict[str, Any]:
        """See `Method.config`: the hyperparameters of each stage under its name."""
        return {name: method.config() for name, method in self.stages}

    @property
    def needs_flagged(self) -> bool:
        """See `Method.needs_flagged`: any stage does."""
        return any(method.needs_flagged for _, method in self.stages)

    def adapt(self, recipe: TrainSettings) -> Chain:
        """See `Method.adapt`: each stage is."""
        return Chain(stages=tuple((name, method.adapt(recipe)) for name, method in self.stages))

    def waits_for(self) -> tuple[str, ...]:
        """See `Method.waits_for`: what any stage does."""
        return tuple(dict.fromkeys(name for _, method in self.stages for name in method.waits_for()))

    def resolve(self, durations: Mapping[str, Took]) -> Chain:
        """See `Method.resolve`: each stage is."""
        return Chain(stages=tuple((name, method.resolve(durations)) for name, method in self.stages))

    def unlearn(self, model: keras.Model, task: UnlearningTask) -> UnlearningOutcome:
        """See `Method.unlearn`."""
        started = time.perf_counter()
        current = model
        outcomes: dict[str, UnlearningOutcome] = {}
        history: list[dict[str, Any]] = []
        for name, method in self.stages:
            begun = time.perf_counter() - started
            outcome = outcomes[name] = method.unlearn(current, dataclasses.replace(task, is_stage=True))
            current = outcome.model
            # The first row of a stage scores its input, which the stage before has already done.
            rows = outcome.history[1:] if history else outcome.history
            for row in rows:
                shifted = {"seconds": row["seconds"] + begun} if "seconds" in row else {}
                history.append({**row, **shifted, "step": len(history), "stage": name})
        parts = list(outcomes.values())
        preparation = sum(part.preparation_duration_s for part in parts)
        applied = any(part.applied for part in parts)
        outcome = conclude(
            model,
            current if applied else None,
            task,
            started=started + preparation,
            work=sum((part.work for part in parts), WorkCount()),
            history=history,
            solves=[solve for part in parts for solve in part.solves],
            solver_log=[{"stage": name, **row} for name, part in outcomes.items() for row in part.solver_log],
            status=None if applied else max((part.status for part in parts), key=_gravity),
            told=frozenset().union(*(told_to(name, method) for name, method in self.stages)),
            details={name: dict(part.details) for name, part in outcomes.items() if part.details},
            rows={f"{name}.{what}": rows for name, part in outcomes.items() for what, rows in part.rows.items()},
        )
        cpu_s = sum(part.preparation_cpu_s for part in parts)
        return dataclasses.replace(outcome, preparation_duration_s=preparation, preparation_cpu_s=cpu_s)


def _gravity(status: OutcomeStatus) -> int:
    """Which of several statuses to report when no stage changed anything."""
    return (OutcomeStatus.NOTHING_FLAGGED, OutcomeStatus.NOTHING_IMPROVED, OutcomeStatus.NON_FINITE).index(status)
