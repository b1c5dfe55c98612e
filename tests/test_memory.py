"""The memory of the machine, or of the container where it is less, for both versions of control groups."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from unlearning import archives, memory

GROUPS = {
    "v1": ("4:memory:/jobs/a\n1:cpu:/\n", "memory/", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_"),
    "v1 with others": ("4:cpu,memory:/jobs/a\n", "memory/", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_"),
    "v2": ("0::/jobs/a\n", "", "memory.max", "memory.current", ""),
}


@pytest.fixture(params=GROUPS)
def group(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Writes limit and use of a group, named by its path."""
    text, mount, limit, used, prefix = GROUPS[request.param]
    (tmp_path / "own").write_text(text)
    monkeypatch.setattr(memory, "_OWN", tmp_path / "own")
    monkeypatch.setattr(memory, "_MOUNT", tmp_path / "mount")

    def write(name: str, most: object, now: object = 0, cache: int = 0) -> None:
        folder = tmp_path / "mount" / mount / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / limit).write_text(f"{most}\n")
        (folder / used).write_text(f"{now}\n")
        (folder / "memory.stat").write_text(f"anon 1\n{prefix}inactive_file {cache}\n")

    return write


def test_no_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_OWN", tmp_path / "nothing")
    assert memory.total_memory() >= psutil.virtual_memory().total
    assert 0 < memory.available_memory() <= psutil.virtual_memory().total


def test_the_lowest_limit_on_the_way_counts(group) -> None:
    machine = memory.total_memory()
    group("jobs/a", 5_000_000, 1_000_000, cache=400_000)
    assert (memory.total_memory(), memory.available_memory()) == (5_000_000, 4_400_000)
    group("jobs", 3_000_000, 2_900_000)
    assert (memory.total_memory(), memory.available_memory()) == (3_000_000, 100_000)
    group("jobs", 3_000_000, 3_900_000)
    assert memory.available_memory() == 0
    for unlimited in ("max", 2**63 - 4096, "nonsense"):
        group("jobs", unlimited)
        group("jobs/a", unlimited)
        assert memory.total_memory() == machine


def test_a_container_that_sees_its_group_as_the_root(group) -> None:
    group("", 7_000_000)
    assert memory.total_memory() == 7_000_000


def test_archives_know_it(group) -> None:
    group("jobs/a", 10_000)
    archives.check_memory(10_000)
    with pytest.raises(ValueError, match=r"10001 bytes of memory.*10000"):
        archives.check_memory(10_001)
