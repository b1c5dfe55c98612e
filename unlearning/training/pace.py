"""How long a training may take, and the learning rate that falls to zero until then.

rate = peak (1 - progress),     progress = max(steps made / steps, share of its time spent)
"""

from __future__ import annotations

import time


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


class Pace:
    """How far a training is, in steps and in time.

    Its time runs to a given share of the budget. It begins with the training, or, where `leave` was called, anew after
    the first step, in which Keras compiles.

    Args:
        budget: What it shares with others.
        steps: Number of its steps; very many where only the budget ends it.
        end: The share of the budget that is spent when its time is over.

    Attributes:
        made: Steps made.

    Example:
        >>> pace = Pace(Budget(), steps=4)
        >>> pace.step()
        >>> pace.rate(1.0), pace.is_over
        (0.75, False)
    """

    def __init__(self, budget: Budget, steps: int, end: float = 1.0) -> None:
        self._budget, self._steps = budget, steps
        self.made, self._begun, self._end = 0, 0.0, end

    def step(self) -> None:
        """Counts a step."""
        self.made += 1

    def leave(self, share: float, among: int = 1) -> None:
        """Begins its time now, and ends it early.

        Args:
            share: Of the budget, for what follows after all trainings.
            among: Number of trainings, this one included, that share what is left.
        """
        self._begun = self._budget.spent
        self._end = self._begun + (1 - self._begun - share) / among

    def rate(self, peak: float) -> float:
        """Returns the learning rate that has fallen from a peak."""
        return peak * max(1 - max(self.made / self._steps, self.spent), 0.0)

    @property
    def spent(self) -> float:
        """The share of its time that is spent; 0 before the first step."""
        if not self.made:
            return 0.0
        time_left = self._end - self._begun
        return (self._budget.spent - self._begun) / time_left if time_left > 0 else 1.0

    @property
    def is_over(self) -> bool:
        """Whether its steps are made, or its time is spent."""
        return self.made >= self._steps or self.spent >= 1
