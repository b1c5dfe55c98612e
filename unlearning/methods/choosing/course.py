"""How far a training is: a number of steps that is planned once, cut once if the first ones take too long.

    rate(step) = peak (1 - step / steps)

The rate depends on steps and not on the clock, so that where there is time enough the seed alone decides.
"""

from __future__ import annotations

from collections.abc import Callable

_TIMED = 8  # steps after the first one, which compiles
_GRACE = 0.15  # of the time that there was


class Course:
    """Steps of one training.

    Args:
        steps: Planned steps.
        left: Returns how many seconds are left.

    Attributes:
        made: Steps made.
        steps: Steps planned.
        was_cut: Whether they are fewer than was planned at first.

    Example:
        >>> course = Course(4, left=lambda: 60.0)
        >>> course.step()
        >>> course.rate(1.0), course.is_over
        (0.75, False)
    """

    def __init__(self, steps: int, left: Callable[[], float]) -> None:
        self.made, self.steps, self.was_cut = 0, steps, False
        self._left, self._all = left, max(left(), 0.0)
        self._left_after_first = 0.0

    def step(self) -> None:
        """Counts a step."""
        self.made += 1
        if self.made == 1:
            self._left_after_first = self._left()
        elif self.made == 1 + _TIMED and self.made < self.steps:
            left = self._left()
            a_step = max((self._left_after_first - left) / _TIMED, 1e-9)
            affordable = self.made + int(max(left, 0.0) / a_step)
            if affordable < self.steps:
                self.steps, self.was_cut = max(affordable, self.made + 1), True

    def rate(self, peak: float) -> float:
        """Returns the learning rate that has fallen from a peak."""
        return peak * max(1 - self.made / self.steps, 0.0)

    @property
    def is_over(self) -> bool:
        """Whether its steps are made, or time has run out after all."""
        return self.made >= self.steps or (self.made > 1 + _TIMED and self._left() < -_GRACE * self._all)
