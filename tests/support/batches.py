"""Work in a process of its own that may crash, hang, or take all memory: what was done until then is kept."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any

_MOST_MORE_BYTES = 6 * 2**30
_PATIENCE_S = 400.0
"""Of the watchdog; what can be interrupted in Python is, by `alarm`, long before."""


class TooSlow(BaseException):
    """Something did not end in time."""


def run_batches(work: Callable[[Sequence[int]], Iterator[Any]], numbers: Sequence[int]) -> Iterator[tuple[int, Any]]:
    """Calls a generator of results on numbers, one result a number, in a forked process; a crash costs one number.

    Args:
        work: Yields one result a number; called anew, in a new process, with the numbers behind one that killed it.
        numbers: What it is given.

    Yields:
        Number and result; the result of a number that killed the process is a text that says how.
    """
    left = list(numbers)
    while left:
        ours, theirs = multiprocessing.Pipe(duplex=False)
        child = os.fork()
        if child == 0:
            _work(theirs, work, left)
        theirs.close()
        how = ""
        try:
            while left:
                if not ours.poll(_PATIENCE_S):
                    how = f"no answer in {_PATIENCE_S:.0f} s"
                    break
                result = ours.recv()
                yield left.pop(0), result
        except EOFError:
            how = "its process ended"
        finally:
            ours.close()
            if how.startswith("no answer"):
                os.kill(child, signal.SIGKILL)
            status = os.waitpid(child, 0)[1]
        if how and left:
            yield left.pop(0), f"{how} ({os.waitstatus_to_exitcode(status)})"


def _work(pipe: Any, work: Callable[[Sequence[int]], Iterator[Any]], numbers: Sequence[int]) -> None:
    """What the forked process does; it never returns."""
    code = 1
    try:
        # Address space, which allocators ask for before they touch it: nothing can take the machine's memory.
        most = _memory("VmSize") + _MOST_MORE_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        for late in (signal.SIGALRM, signal.SIGPROF):
            signal.signal(late, _late)
        for result in work(numbers):
            pipe.send(result)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        pipe.close()
        os._exit(code)


def _late(*_: object) -> None:
    raise TooSlow


def reset_peak() -> int:
    """Begins to measure the most memory anew; returns the bytes that this process holds now."""
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    return _memory("VmRSS")


def peak() -> int:
    """Returns the most bytes that this process held since `reset_peak`."""
    return _memory("VmHWM")


def _memory(name: str) -> int:
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(f"{name}:"))
