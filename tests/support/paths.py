"""Where things are."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"
FIXTURES = ROOT / "tests" / "fixtures" / "version-0.1"
PUBLISHED = ROOT / "models" / "published"
KEPT = (PUBLISHED, FIXTURES)
"""Folders whose records stay good in every version."""


def kept(pattern: str) -> list[Path]:
    """Returns the files of a name in all of them."""
    return sorted(path for folder in KEPT for path in folder.rglob(pattern))
