"""The small grid, run once."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.grid import setup
from support.trees import contents, unfinished
from unlearning.experiments.grid import sweep


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory) -> Path:
    """The grid, run in this process."""
    folder = tmp_path_factory.mktemp("sweep") / "e"
    report = sweep.sweep(setup(folder))
    assert len(report.results) == 2 and not report.failed
    return folder


@pytest.fixture(scope="session")
def reference(undisturbed: Path) -> dict[str, str]:
    assert not unfinished(undisturbed)
    return contents(undisturbed)
