"""Stopping a run from outside: a signal becomes an exception, once."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(BaseException):
    """A signal asked the process to stop; not an `Exception`, so that nothing on the way takes it for a failure.

    Args:
        number: The signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    @property
    def exit_code(self) -> int:
        """What a shell reports for a process ended by this signal."""
        return 128 + self.number

    def __str__(self) -> str:
        name = signal.Signals(self.number).name
        return f"Stopped by {name}. What is finished stays; the same command continues from there."


@contextlib.contextmanager
def stopping_on_signals() -> Iterator[None]:
    """Turns SIGINT and SIGTERM inside into `Stopped`; a second signal ends the process at once.

    Only the main thread receives signals; elsewhere this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal received
        if received:
            os._exit(128 + number)
        received = True
        raise Stopped(number)

    before = {number: signal.signal(number, stop) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
