"""Signs of life from long work: which stage of how many, what it does, how long it has taken and will take.

One reporter hears of everything and decides what is shown. Whoever orchestrates names the stages (`stages`), whoever
computes counts its steps (`progress_bar`), or at least says that it lives (`pulse`). The command line puts a `Terminal`
in charge (`reporting`) for all that is called inside, methods and detectors of other packages included, which are
called with a model and a task and nothing else. That is one for the process and no context variable: TensorFlow reads
batches and runs steps in threads of its own, which no context reaches. Where nobody is in charge, a terminal is told
and anything else is left alone.

Example:
    >>> heard = Reporter()
    >>> with reporting(heard), stages(2):
    ...     stage("training")
    ...     for _ in progress_bar(range(3), description="fit", unit="epoch"):
    ...         pass
    ...     heard.line(), heard.signs
    ('[1/2] training  0 s', 4)
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TextIO

from tqdm import tqdm
from tqdm.utils import disp_len, disp_trim

from unlearning.errors import printable, printable_lines

_REDRAWN = 0.1  # seconds between two looks of a line on a terminal, at least
_BEAT = 1.0  # and at most, whatever the work is at
_SPARSE = 60.0  # seconds between two lines in a file or a pipe
_STAYS = 1.0  # a stage that took longer leaves a line behind on a terminal
_WIDTH = 100


def describe_duration(seconds: float) -> str:
    """Returns a duration in words of about two digits, such as `3 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


@dataclasses.dataclass
class _Stage:
    """One stage of several, or something done beside them."""

    text: str
    started: float
    bars: int  # that have begun outside of it
    told: bool = False


@dataclasses.dataclass(eq=False)
class _Plan:
    """Stages that are gone through, and which is the present one."""

    total: int
    of: str
    number: int = 0


class Reporter:
    """Hears what goes on and shows nothing; others derive from it.

    Args:
        clock: Seconds, from whenever.

    Attributes:
        signs: How many signs of life there were.
        beside: What the line says besides, such as how many cells are done.
        live: Whether it shows one line that changes.
    """

    live = False

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.signs = 0
        self.beside = ""
        self._greeting = ""
        self._stages: list[_Stage] = []
        self._bars: list[Bar] = []

    def greet(self, text: str) -> None:
        """Takes note of what is done before the first stage, which only a terminal is told."""
        self._greeting = text
        self.sign(begun=True)

    def begin(self, text: str) -> None:
        """Takes note of a stage, inside of those that have begun."""
        self._greeting = ""
        self._stages.append(_Stage(text, self.clock(), len(self._bars)))
        self.sign(begun=True)

    def end(self) -> None:
        """Takes note of the end of the innermost stage, and of all steps in it."""
        del self._bars[self._stages.pop().bars :]

    def sign(self, *, begun: bool = False) -> None:
        """Takes note of a sign of life.

        Args:
            begun: Whether it is the beginning of a stage.
        """
        self.signs += 1

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Makes room for a message of somebody else on the same terminal."""
        yield

    def close(self) -> None:
        """Ends what is shown."""

    def line(self) -> str:
        """Returns what goes on, in one line; empty where nothing does."""
        stage, now = self._stages[-1] if self._stages else None, self.clock()
        bars = self._bars[0 if stage is None else stage.bars :]
        if stage is None and not bars:
            return printable(self.beside or self._greeting)
        text = "" if stage is None else stage.text
        if bars:
            text = ": ".join(filter(None, (text, bars[0].description)))
            text += "".join(f", {bar.unit} {min(bar.done + 1, bar.total)} of {bar.total}" for bar in bars if bar.total)
        since = bars[0].started if stage is None else stage.started
        text += f"  {describe_duration(now - since)}"
        share = _share(bars)
        if share > 0 and now - bars[0].started > _STAYS:
            whole = bars[0].started - since + (now - bars[0].started) / share
            text += f" of about {describe_duration(max(whole, now - since))}"
        return printable(f"{text}; {self.beside}" if self.beside else text)


class Bar:
    """Steps of known or unknown number, counted by hand or by going through them.

    Args:
        items: What to go through, or None.
        total: Number of steps; None where nobody knows.
        description: What they are steps of.
        unit: What one of them is.
    """

    def __init__(self, items: Sequence[Any] | None, total: int | None, description: str, unit: str) -> None:
        self._items, self._reporter = items, current()
        self.total, self.description, self.unit = total, description, unit
        self.done, self.started = 0, self._reporter.clock()
        if items is None:
            self._reporter._bars.append(self)

    def __iter__(self) -> Iterator[Any]:
        assert self._items is not None
        self.started = self._reporter.clock()
        self._reporter._bars.append(self)
        try:
            for item in self._items:
                yield item
                self.update()
        finally:
            self.close()

    def update(self, count: int = 1) -> None:
        """Counts steps that were made."""
        self.done += count
        self._reporter.sign()

    def close(self) -> None:
        """Ends the steps."""
        with contextlib.suppress(ValueError):  # their stage has ended
            self._reporter._bars.remove(self)


def _share(bars: Sequence[Bar]) -> float:
    """The share of the outermost steps that is done, those inside of the present one included."""
    share = 0.0
    for bar in reversed(bars):
        share = min(1.0, (bar.done + share) / bar.total) if bar.total else 0.0
    return share


class Terminal(Reporter):
    """Says on a stream what goes on: in one changing line on a terminal, in a few lines in a file or a pipe.

    Args:
        stream: Where to.
        clock: Seconds, from whenever.
        beating: On a terminal, let the seconds run on while the work gives no sign.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic, *, beating: bool = True) -> None:
        super().__init__(clock)
        self._stream, self.live = stream, stream.isatty()
        self._print = tqdm.status_printer(stream)
        self._lock = threading.RLock()
        self._shown, self._drawn, self._over = "", -_SPARSE, threading.Event()
        if self.live and beating:
            threading.Thread(target=self._beat, daemon=True).start()

    def sign(self, *, begun: bool = False) -> None:
        """See `Reporter.sign`; only what has begun to work is told, not what is found done."""
        super().sign()
        now = self.clock()
        if self.live:
            if begun or now - self._drawn >= _REDRAWN:
                self._draw(self.line())
            return
        if begun or not self._stages:
            return
        stage = self._stages[-1]
        if not stage.told or now - self._drawn >= _SPARSE:
            self._drawn = now
            self._write(f"{self.line() if stage.told else printable(stage.text)}\n")
            stage.told = True

    def end(self) -> None:
        """See `Reporter.end`; what took long leaves a line on a terminal."""
        stage = self._stages[-1]
        took = self.clock() - stage.started
        super().end()
        if self.live:
            with self.aside():
                if took >= _STAYS:
                    self._write(f"{printable(stage.text)}  {describe_duration(took)}\n")

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """See `Reporter.aside`."""
        with self._lock:
            self._draw("")
            yield
            self._drawn = -_SPARSE if self.live else self._drawn

    def close(self) -> None:
        """See `Reporter.close`."""
        self._over.set()
        with self._lock:
            self._draw("")

    def _beat(self) -> None:
        while not self._over.wait(_BEAT):
            with self._lock:
                if not self._over.is_set():
                    self._draw(self.line())

    def _draw(self, text: str) -> None:
        """Shows a line in place of the one that is there."""
        if not self.live or (not text and not self._shown):
            return
        with self._lock:
            room = shutil.get_terminal_size((_WIDTH, 24)).columns - 1  # the last column would break the line
            if disp_len(text) > room:  # columns, of which some letters take two
                text = f"{disp_trim(text, max(0, room - 3))}..."
            with contextlib.suppress(OSError, ValueError):  # nobody reads any more
                self._print(text)
            if not text:
                self._write("\r")
            self._shown, self._drawn = text, self.clock()

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # nobody reads any more
            self._stream.write(text)
            self._stream.flush()


_SILENT = Reporter()
_IN_CHARGE: list[Reporter] = []
_PLANS: list[_Plan] = []


def current() -> Reporter:
    """Returns the reporter in charge. Without one, a terminal is told, unless `TQDM_DISABLE` is set."""
    if _IN_CHARGE:
        return _IN_CHARGE[-1]
    return _SILENT if is_quiet() or not _is_terminal(sys.stderr) else _of_terminal(sys.stderr)


def is_quiet() -> bool:
    """Whether no progress is to be shown, in this process and those that it starts."""
    return bool(os.environ.get("TQDM_DISABLE"))


def _is_terminal(stream: Any) -> bool:
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):  # closed, or something of a notebook's
        return False


@functools.lru_cache(maxsize=1)
def _of_terminal(stream: TextIO) -> Terminal:
    return Terminal(stream, beating=False)


@contextlib.contextmanager
def reporting(reporter: Reporter) -> Iterator[Reporter]:
    """Puts a reporter in charge of everything called inside."""
    _IN_CHARGE.append(reporter)
    try:
        yield reporter
    finally:
        reporter.close()
        _IN_CHARGE.remove(reporter)


@contextlib.contextmanager
def stages(total: int, of: str = "") -> Iterator[None]:
    """Goes through stages, one after the other; `stage` begins each.

    Args:
        total: How many.
        of: What they are stages of, where that is not plain.
    """
    reporter, plan = current(), _Plan(total, of)
    _PLANS.append(plan)
    try:
        yield
    finally:
        _PLANS.remove(plan)
        if plan.number:
            reporter.end()


def stage(name: str) -> None:
    """Begins the next of the stages that are gone through, where some are."""
    if not _PLANS:
        return
    plan, reporter = _PLANS[-1], current()
    if plan.number:
        reporter.end()
    plan.number += 1
    plan.total = max(plan.total, plan.number)  # more may turn out to be needed
    reporter.begin(f"[{plan.number}/{plan.total}] {name}{plan.of and f' ({plan.of})'}")


@contextlib.contextmanager
def doing(text: str) -> Iterator[None]:
    """Says what is done now, of which no steps can be counted."""
    reporter = current()
    reporter.begin(f"{text} ...")
    try:
        reporter.sign()
        yield
    finally:
        reporter.end()


def pulse() -> None:
    """Gives a sign of life where nobody can say how many there will be."""
    current().sign()


def progress_bar(items: Sequence[Any] | None = None, *, total: int | None = None, description: str, unit: str) -> Bar:
    """Counts steps.

    Args:
        items: What to go through, or None to count by hand.
        total: Number of steps, where `items` is None.
        description: What they are steps of.
        unit: What one step is.

    Returns:
        The steps: to be gone through, or with `update` and `close`.
    """
    return Bar(items, len(items) if items is not None else total, description, unit)


class PrintableFormatter(logging.Formatter):
    """Messages that cannot steer a terminal, whatever names of files stand in them."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the message of a record."""
        return printable_lines(super().format(record))


class MessageHandler(logging.StreamHandler):
    """Messages on standard error, beside what a reporter shows there."""

    def emit(self, record: logging.LogRecord) -> None:
        """Writes a record."""
        with current().aside():
            super().emit(record)
