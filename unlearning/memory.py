"""How much memory there is: of the machine, or of the container where it is less (control groups of either version).

A group's limit holds for all below it, so that the lowest on the way to the root counts. A container often sees its own
group as the root, while `/proc/self/cgroup` still has the path outside; what is not there is passed over.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

_MOUNT = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")
_FILES = {  # by the controllers in a line of `_OWN`: the mount, the limit, what is used, the cache in it that can go
    "": ("", "memory.max", "memory.current", "inactive_file"),
    "memory": ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


def total_memory() -> int:
    """Returns the most memory that this process can ever have, in bytes."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([machine, *(limit for limit, _ in _groups())])


def available_memory() -> int:
    """Returns the memory that new processes may use now, in bytes."""
    import psutil

    free = psutil.virtual_memory().available
    return max(0, min([free, *(limit - used for limit, used in _groups())]))


def _groups() -> Iterator[tuple[int, int]]:
    """Limit and use of each group that this process is in, where there is a limit."""
    try:
        lines = _OWN.read_text().splitlines()
    except (OSError, ValueError):  # no Linux
        return
    for line in lines:
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        for controller in controllers.split(","):
            if controller not in _FILES:
                continue
            mount, limit, used, cache = _FILES[controller]
            own = Path(path.strip("/"))
            for group in (own, *own.parents):
                place = _MOUNT / mount / group
                with contextlib.suppress(OSError, ValueError):  # no such file, or the word "max"
                    bound = int((place / limit).read_text())
                    yield bound, _use(place, used, cache)


def _use(place: Path, used: str, cache: str) -> int:
    """What a group cannot give back."""
    with contextlib.suppress(OSError, ValueError):
        taken = int((place / used).read_text())
        stat = dict(line.split(" ", 1) for line in (place / "memory.stat").read_text().splitlines() if " " in line)
        return max(0, taken - int(stat.get(cache, 0)))
    return 0
