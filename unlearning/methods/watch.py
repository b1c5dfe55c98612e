"""A callback for plain training: the best epoch on validation, and a deadline."""

from __future__ import annotations

import time
from typing import Any

import keras
import numpy as np

from unlearning.evaluation import accuracy
from unlearning.task import Split


class Watch(keras.callbacks.Callback):
    """Scores on validation after every epoch, keeps the best weights, and stops at the deadline.

    Args:
        validation: The rows to score on.
        started: `time.perf_counter()` at the start of the method.

    Attributes:
        deadline: `time.perf_counter()` at which to stop.
        rate: The learning rate, for the log.
        history: One mapping an epoch.
        batches: Steps taken.
        broken: Whether a weight was not finite.
        best_weights: Of the best epoch; None where none beats the model as it came.
    """

    def __init__(self, validation: Split, started: float) -> None:
        super().__init__()
        self._validation, self._started = validation, started
        self.deadline = float("inf")
        self.rate: float | None = None
        self.history: list[dict[str, Any]] = []
        self.batches = 0
        self.broken = False
        self.best_weights: list[np.ndarray] | None = None
        self._best = -1.0

    def score(self, model: keras.Model, **columns: Any) -> None:
        """Adds a row to the history; the first one is the model as it came."""
        weights = model.get_weights()
        if not all(np.isfinite(weight).all() for weight in weights):
            self.broken = model.stop_training = True
            return
        score = accuracy(model, self._validation)
        seconds = time.perf_counter() - self._started
        self.history.append({"step": len(self.history), "validation_accuracy": score, "seconds": seconds, **columns})
        if score > self._best:
            self.best_weights, self._best = (weights if len(self.history) > 1 else None), score

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Counts, and stops at the deadline; Keras calls this."""
        self.batches += 1
        if time.perf_counter() > self.deadline:
            self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Scores the model; Keras calls this."""
        # A deadline in the middle of an epoch ends it here, too.
        self.score(self.model, learning_rate=self.rate)
        if time.perf_counter() > self.deadline:
            self.model.stop_training = True
