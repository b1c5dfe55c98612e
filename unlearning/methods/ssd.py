"""Selective synaptic dampening: weights that matter far more to flagged rows than to all rows are made smaller.

    F_f, F_D = mean over the flagged / all training rows of (d loss(row) / d theta)^2      (given labels)
    theta <- theta * min(lambda F_D / F_f, 1)      where      F_f > alpha F_D

Foster, Schoepf and Brintrup, AAAI 2024, with `alpha = 10` and `lambda = 1`. Nothing is trained, and corrected labels
are not looked at. Differences from the published code:

1. It squares the gradient of a *batch's* mean loss and averages that over batches (of 64 or so). The diagonal of the
   Fisher matrix is the mean over rows of each row's squared gradient, which is what is computed here;
   `squares="batches"` is the published estimate.
2. `alpha` is chosen on validation rows. The flagged rows are among all rows, so that `F_f / F_D` is at most the number
   of training rows over that of flagged ones: with a fifth of the rows flagged nothing ever exceeds 5, and `alpha = 10`
   does nothing. Where wrong labels are memorised many weights crowd just below that bound. `shares` therefore adds
   those `alpha` to the grid at which given shares of the weights are dampened.

Example:
    >>> from unlearning.methods.ssd import Ssd
    >>> outcome = Ssd(alphas=(10, 3, 1)).unlearn(model, task)
    >>> outcome.validation_accuracy_after >= outcome.validation_accuracy_before
    True
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import model_validator

from unlearning.errors import InputError
from unlearning.influence.settings import Squares
from unlearning.methods import FLAGGED
from unlearning.methods.base import Method, conclude
from unlearning.settings import OpenShare, Positive, PositiveFloat
from unlearning.task import OutcomeStatus, UnlearningOutcome, UnlearningTask, WorkCount

if TYPE_CHECKING:
    import keras


class Ssd(Method):
    """Selective synaptic dampening."""

    alphas: tuple[PositiveFloat, ...] = (100.0, 30.0, 10.0, 5.0, 3.0, 2.0, 1.0)
    """Selection weightings to be tried: a weight is dampened where its forget importance exceeds `alpha` times its full
    one. Below `dampening_constant` nothing changes any more."""
    shares: tuple[OpenShare, ...] = (1e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.2, 0.4)
    """Shares of the weights, each of which adds the `alpha` at which it is dampened."""
    dampening_constant: PositiveFloat = 1.0
    """The `lambda`; smaller dampens more."""
    squares: Squares = "examples"
    """`"examples"` averages squared gradients of rows, `"batches"` squares those of batches, as published."""
    trainable_from: str | None = "all"
    """First layer whose weights may be dampened, `"all"`, or null for the dense head."""
    batch_rows: Positive = 16
    """Rows whose gradients are held at a time, or rows of a batch."""

    @model_validator(mode="after")
    def _check(self) -> Ssd:
        if not self.alphas and not self.shares:
            raise InputError("alphas", "at least one where there are no shares", self.alphas)
        return self

    def unlearn(self, model: keras.Model, task: UnlearningTask) -> UnlearningOutcome:
        """See `Method.unlearn`."""
        from unlearning.influence.dampening import Dampening, dampening

        started = time.perf_counter()
        dampened = Dampening(model, task, self.trainable_from)
        work = WorkCount()
        if not len(task.corrections):
            return conclude(model, None, task, started=started, work=work, status=OutcomeStatus.NOTHING_FLAGGED)
        forget, full, work = dampened.importances(self.batch_rows, self.squares)
        if not (np.isfinite(forget).all() and np.isfinite(full).all()):
            before = dampened.score(None)
            return conclude(
                model,
                None,
                task,
                started=started,
                work=work + WorkCount(forward_rows=len(task.choosing)),
                history=[{"step": 0, "validation_accuracy": before, "seconds": time.perf_counter() - started}],
                status=OutcomeStatus.NON_FINITE,
            )
        history: list[dict[str, Any]] = []
        chosen, best, best_score = None, None, -1.0
        ratios = np.divide(forget, full, out=np.zeros_like(full), where=full > 0)
        grid = {*self.alphas, *(float(np.quantile(ratios, 1 - share)) for share in self.shares)}
        for alpha in (None, *sorted(grid, reverse=True)):  # a tie goes to what changes least
            row: dict[str, Any] = {"step": len(history)}
            factors = None
            if alpha is not None:
                factors = dampening(forget, full, alpha, self.dampening_constant)
                row |= {"alpha": alpha, "dampened": float(np.mean(factors < 1))}
            score = dampened.score(factors)
            work += WorkCount(forward_rows=len(task.choosing))
            history.append({**row, "validation_accuracy": score, "seconds": time.perf_counter() - started})
            if score > best_score:
                chosen, best, best_score = alpha, factors, score
        return conclude(
            model,
            None if best is None else dampened.repaired(best),
            task,
            started=started,
            work=work,
            history=history,
            told=FLAGGED,
            details={
                "alpha": chosen,
                "parameters": dampened.head.size,
                "largest_ratio": float(ratios.max()),
            },
        )
