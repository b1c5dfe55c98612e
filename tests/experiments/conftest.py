"""The small grid, run once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.grid import registered, setup
from support.shared import once
from support.trees import contents, unfinished
from unlearning.experiments.grid import sweep


@pytest.fixture(scope="module", autouse=True)
def _tiny_architecture() -> Iterator[None]:
    with registered():
        yield


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory) -> Path:
    """The grid, run in a test process."""

    def make(folder: Path) -> None:
        with registered():
            report = sweep.sweep(setup(folder / "e"))
        assert len(report.results) == 2 and not report.failed

    return once(tmp_path_factory, "grid", make) / "e"


@pytest.fixture(scope="session")
def reference(undisturbed: Path) -> dict[str, str]:
    assert not unfinished(undisturbed)
    return contents(undisturbed)
