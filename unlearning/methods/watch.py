"""What goes along with a plain training: the learning rate's fall, the score on validation, and when it is over."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from unlearning.evaluation import accuracy, likelihood
from unlearning.projection.statistics import recalibrate_batch_norm
from unlearning.task import Measure, Split
from unlearning.training.pace import Budget, Pace


class Watch(keras.callbacks.Callback):
    """Sets the learning rate, scores on validation, keeps the best weights, and stops when the budget is spent.

    A constant learning rate is scored after every epoch. Of a falling one (see `training.pace`) only the end is scored,
    early enough for the scores that come after it.

    Args:
        validation: The rows to score on.
        budget: What may be spent.
        falling: Whether learning rates fall.
        recalibration: Images from which batch normalisation is re-estimated before scoring; None: it is not.
        measure: What is scored.

    Attributes:
        history: One mapping a scored model.
        batches: Steps taken.
        forward_rows: Rows that were passed forward for scores.
        broken: Whether a weight was not finite.
        best_weights: Of the best model; None where none beats the model as it came.
    """

    def __init__(
        self,
        validation: Split,
        budget: Budget,
        *,
        falling: bool = False,
        recalibration: np.ndarray | None = None,
        measure: Measure = "accuracy",
    ) -> None:
        super().__init__()
        self._measure = measure
        self._validation, self._budget = validation, budget
        self._falling, self._recalibration = falling, recalibration
        self._scorings: list[float] = []  # shares of the budget; the first one compiles, as those at the very end do
        self.history: list[dict[str, Any]] = []
        self.batches = self.forward_rows = 0
        self.broken = False
        self.best_weights: list[np.ndarray] | None = None
        self._best = -1.0

    @property
    def is_over(self) -> bool:
        """Whether the budget has no time left for one more training."""
        return self._budget.spent + self._after(1) >= 1

    def begin(self, peak: float, steps: int, run: int, runs: int) -> None:
        """Prepares for a training.

        Args:
            peak: The learning rate that it begins with.
            steps: Number of its steps, after which a falling rate is zero; very many where only the budget ends it.
            run: Its number, from 1.
            runs: Number of all trainings, which share the budget.
        """
        self._peak = self._rate = peak
        self._pace, self._runs_left = Pace(self._budget, steps, run / runs), runs - run + 1

    def score(self, model: keras.Model, **columns: Any) -> None:
        """Adds a row to the history; the first one is the model as it came."""
        spent = self._budget.spent
        if self.history and self._recalibration is not None:
            recalibrate_batch_norm(model, self._recalibration)
            self.forward_rows += len(self._recalibration)
        weights = model.get_weights()
        if not all(np.isfinite(weight).all() for weight in weights):
            self.broken = model.stop_training = True
            return
        score = (accuracy if self._measure == "accuracy" else likelihood)(model, self._validation)
        self.forward_rows += len(self._validation)
        row = {"step": len(self.history), f"validation_{self._measure}": score, "seconds": self._budget.seconds}
        self.history.append({**row, **columns})
        if score > self._best:
            self.best_weights, self._best = (weights if len(self.history) > 1 else None), score
        self._scorings.append(self._budget.spent - spent)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Lets the learning rate fall; Keras calls this."""
        if self._falling:
            self._rate = self._pace.rate(self._peak)
            self.model.optimizer.learning_rate = self._rate

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Counts, and stops when the time is spent; Keras calls this."""
        self.batches += 1
        self._pace.step()
        if self._falling and self._pace.made == 1:
            self._pace.leave(self._after(self._runs_left), self._runs_left)
        if self._pace.is_over if self._falling else self._pace.spent >= 1:
            self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Scores the model where its learning rate is constant; Keras calls this."""
        if not self._falling:
            # A deadline in the middle of an epoch ends it here, too.
            self.score(self.model, learning_rate=self._peak)
            if self._pace.spent >= 1:
                self.model.stop_training = True

    def on_train_end(self, logs: Any = None) -> None:
        """Scores the model where its learning rate has fallen; Keras calls this."""
        if self._falling:
            self.score(self.model, learning_rate=self._peak, last_learning_rate=self._rate)

    def _after(self, runs: int) -> float:
        """The share of the budget for what follows: a score a training, and those of the old model and the new one."""
        if not self._falling:
            return 0.0
        one = self._scorings[-1]
        if len(self._scorings) == 1 and self._recalibration is not None:
            one *= 1 + len(self._recalibration) / len(self._validation)
        return runs * one + 2 * self._scorings[0]
