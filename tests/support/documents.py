"""README and the pages of docs, and the blocks of code in them."""

from __future__ import annotations

import re
from pathlib import Path

from support.paths import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md"))]
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> list[str]:
    """Returns the blocks of one language, in order."""
    return [text for found, text in _BLOCK.findall(page.read_text(encoding="utf-8")) if found == language]
