"""What goes along with a plain training: the learning rate's fall, the score on validation, and the budget."""

from __future__ import annotations

import time
from typing import Any

import keras
import numpy as np

from unlearning.evaluation import accuracy
from unlearning.projection.statistics import recalibrate_batch_norm
from unlearning.task import Split


class Budget:
    """How long something may take, in wall-clock seconds, processor seconds, or both: what ends first counts.

    Args:
        seconds: Most wall-clock seconds from now on, or None.
        cpu_seconds: Most processor seconds from now on, or None.

    Attributes:
        started: `time.perf_counter()` at the start.
    """

    def __init__(self, seconds: float | None = None, cpu_seconds: float | None = None) -> None:
        self.started, self._cpu = time.perf_counter(), time.process_time()
        self._seconds, self._cpu_seconds = seconds or float("inf"), cpu_seconds or float("inf")

    @property
    def seconds(self) -> float:
        """Wall-clock seconds so far."""
        return time.perf_counter() - self.started

    @property
    def spent(self) -> float:
        """The share of the budget that is spent; 0 where there is none."""
        return max(self.seconds / self._seconds, (time.process_time() - self._cpu) / self._cpu_seconds)


class Watch(keras.callbacks.Callback):
    """Sets the learning rate, scores on validation, keeps the best weights, and stops when the budget is spent.

    A constant learning rate is scored after every epoch. A falling one is `peak * (1 - progress)`, with the share of
    the steps that are made, or of the time that is spent, whichever is more, and only its end is scored. Its time
    begins after the first step, in which Keras compiles, and ends early enough for the scores that come after it.

    Args:
        validation: The rows to score on.
        budget: What may be spent.
        falling: Whether learning rates fall.
        recalibration: Images from which batch normalisation is re-estimated before scoring; None: it is not.

    Attributes:
        history: One mapping a scored model.
        batches: Steps taken.
        forward_rows: Rows that were passed forward for scores.
        broken: Whether a weight was not finite.
        best_weights: Of the best model; None where none beats the model as it came.
    """

    def __init__(
        self, validation: Split, budget: Budget, *, falling: bool = False, recalibration: np.ndarray | None = None
    ) -> None:
        super().__init__()
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
        self._steps, self._made, self._runs_left = steps, 0, runs - run + 1
        self._begun, self._end = 0.0, run / runs

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
        score = accuracy(model, self._validation)
        self.forward_rows += len(self._validation)
        row = {"step": len(self.history), "validation_accuracy": score, "seconds": self._budget.seconds}
        self.history.append({**row, **columns})
        if score > self._best:
            self.best_weights, self._best = (weights if len(self.history) > 1 else None), score
        self._scorings.append(self._budget.spent - spent)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Lets the learning rate fall; Keras calls this."""
        if self._falling:
            self._rate = self._peak * max(1 - max(self._made / self._steps, self._spent()), 0.0)
            self.model.optimizer.learning_rate = self._rate

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Counts, and stops when the time is spent; Keras calls this."""
        self.batches += 1
        self._made += 1
        if self._falling and self._made == 1:
            self._begun = self._budget.spent
            left = 1 - self._begun - self._after(self._runs_left)
            self._end = self._begun + left / self._runs_left
        if self._spent() >= 1 or (self._falling and self._made >= self._steps):
            self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Scores the model where its learning rate is constant; Keras calls this."""
        if not self._falling:
            # A deadline in the middle of an epoch ends it here, too.
            self.score(self.model, learning_rate=self._peak)
            if self._spent() >= 1:
                self.model.stop_training = True

    def on_train_end(self, logs: Any = None) -> None:
        """Scores the model where its learning rate has fallen; Keras calls this."""
        if self._falling:
            self.score(self.model, learning_rate=self._peak, last_learning_rate=self._rate)

    def _spent(self) -> float:
        """The share of this training's time that is spent."""
        if not self._made:
            return 0.0
        time_left = self._end - self._begun
        return (self._budget.spent - self._begun) / time_left if time_left > 0 else 1.0

    def _after(self, runs: int) -> float:
        """The share of the budget for what follows: a score a training, and those of the old model and the new one."""
        if not self._falling:
            return 0.0
        one = self._scorings[-1]
        if len(self._scorings) == 1 and self._recalibration is not None:
            one *= 1 + len(self._recalibration) / len(self._validation)
        return runs * one + 2 * self._scorings[0]
