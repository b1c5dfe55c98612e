"""Trained once a test run: whatever several tests or test processes need, and none of them changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """Returns a folder that one test process of this run has filled, whichever came first.

    Args:
        factory: The fixture `tmp_path_factory`.
        name: Name of the folder.
        make: Fills it. It is given a path at which nothing stands.

    Returns:
        The folder; who writes in it copies it first.
    """
    base = factory.getbasetemp()
    shared = (base.parent if base.name.startswith("popen-") else base) / "shared"
    shared.mkdir(exist_ok=True)
    folder, made = shared / name, shared / f"{name}.made"
    with FileLock(shared / f"{name}.lock"):
        if not made.exists():
            make(folder)
            made.touch()
    return folder
