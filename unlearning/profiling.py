"""Where the time of a repair goes: processor seconds by what was being done, asked for by `repair --profile`.

What takes time says what it is by `spending`; where nobody has asked, that costs nothing. A part inside another one is
taken off it, so that the shares add up.

Example:
    >>> with profiled() as shares:
    ...     with spending("features"):
    ...         total = sum(range(1000))
    >>> list(shares)
    ['features', 'the rest']
"""

from __future__ import annotations

import contextlib
import contextvars
import time
from collections.abc import Iterator

_REST = "the rest"
_shares: contextvars.ContextVar[list[tuple[dict[str, float], list[float]]] | None] = contextvars.ContextVar(
    "shares", default=None
)


@contextlib.contextmanager
def profiled() -> Iterator[dict[str, float]]:
    """Counts processor seconds for as long as the context lasts.

    Yields:
        Seconds by what was done, in the order in which it was first done; complete when the context ends.
    """
    shares: dict[str, float] = {}
    inner = [0.0]
    token = _shares.set([(shares, inner)])
    begun = time.process_time()
    try:
        yield shares
    finally:
        _shares.reset(token)
        shares[_REST] = max(time.process_time() - begun - inner[0], 0.0)


@contextlib.contextmanager
def spending(what: str) -> Iterator[None]:
    """Says what the time within is spent on.

    Args:
        what: A few words, the same wherever it is the same.
    """
    open_parts = _shares.get()
    if open_parts is None:
        yield
        return
    shares, around = open_parts[-1]
    own = [0.0]
    shares.setdefault(what, 0.0)
    open_parts.append((shares, own))
    begun = time.process_time()
    try:
        yield
    finally:
        took = time.process_time() - begun
        open_parts.pop()
        shares[what] += max(took - own[0], 0.0)
        around[0] += took


def format_shares(shares: dict[str, float]) -> str:
    """Returns seconds and shares, the largest first, a line each.

    Args:
        shares: What `profiled` has yielded.
    """
    total = sum(shares.values())
    ordered = sorted(shares.items(), key=lambda item: -item[1])
    lines = [f"{seconds:8.2f} s {100 * seconds / max(total, 1e-9):5.1f} %  {what}" for what, seconds in ordered]
    return "\n".join(["processor time:", *lines, f"{total:8.2f} s          in all"])
