"""Methods that stop at a given time: after so many seconds, or when they have taken as long as another method took."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import model_validator

from unlearning.errors import InputError
from unlearning.methods.base import Method, Took
from unlearning.settings import since

if TYPE_CHECKING:
    from unlearning.training.pace import Budget

_LIKE = "like:"


class Limited(Method):
    """A method with limits of time."""

    seconds: float | str | None = None
    """Most wall-clock seconds, search included; given `epochs` are then only an upper limit. `"like:NAME"`, in an
    experiment, for as long as the result `NAME` of the same cell took."""
    cpu_seconds: Annotated[float | str | None, since("0.2", before=None)] = None
    """The same in processor seconds, all cores together, which depend little on what else the machine does. They do
    not count what a GPU does."""

    @model_validator(mode="after")
    def _check_limits(self) -> Self:
        for name, value in self.limits.items():
            named = isinstance(value, str) and value.startswith(_LIKE) and value != _LIKE
            if not (named or (isinstance(value, float | int) and value > 0)):
                raise InputError(name, "a positive number, null, or like:NAME", value)
        return self

    @property
    def limits(self) -> dict[str, float | str]:
        """The limits that are set, by field."""
        both = {"seconds": self.seconds, "cpu_seconds": self.cpu_seconds}
        return {name: limit for name, limit in both.items() if limit is not None}

    def waits_for(self) -> tuple[str, ...]:
        """See `Method.waits_for`."""
        named = (limit.removeprefix(_LIKE) for limit in self.limits.values() if isinstance(limit, str))
        return tuple(dict.fromkeys(named))

    def resolve(self, durations: Mapping[str, Took]) -> Self:
        """See `Method.resolve`."""
        found = {
            name: getattr(durations[limit.removeprefix(_LIKE)], name)
            for name, limit in self.limits.items()
            if isinstance(limit, str)
        }
        return self.changed(**found) if found else self

    def start(self) -> Budget:
        """Starts the clock.

        Returns:
            What may be spent from now on.

        Raises:
            InputError: If a limit names a result, and no cell has filled it in.
        """
        from unlearning.training.pace import Budget

        found: dict[str, float] = {}
        for name, limit in self.limits.items():
            if isinstance(limit, str):
                raise InputError(name, "a number (like:NAME needs a cell of an experiment with that result)", limit)
            found[name] = limit
        return Budget(**found)
