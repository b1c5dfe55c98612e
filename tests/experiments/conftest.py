"""The small grid, run once."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.grid import setup
from support.shared import once
from support.trees import contents, unfinished
from unlearning.experiments.grid import sweep


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory) -> Path:
    """The grid, run in a test process."""

    def make(folder: Path) -> None:
        report = sweep.sweep(setup(folder / "e"))
        assert len(report.results) == 2 and not report.failed

    return once(tmp_path_factory, "grid", make) / "e"


@pytest.fixture(scope="session")
def reference(undisturbed: Path) -> dict[str, str]:
    assert not unfinished(undisturbed)
    return contents(undisturbed)
