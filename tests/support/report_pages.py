"""Reading a report page again."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

from unlearning.reporting.page import write_report


class Page(HTMLParser):
    """The elements of a page: tags with attributes, and the text of each kind of element."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self._inside: str | None = None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_data(self, data):
        if self._inside == "script":
            attributes, before = self.scripts[-1]
            self.scripts[-1] = attributes, before + data
        elif self._inside != "style":
            self.text.append(data)

    def handle_endtag(self, tag):
        self._inside = None

    @property
    def data(self) -> dict:
        return json.loads(next(text for attributes, text in self.scripts if attributes.get("id") == "data"))


def write_page(folders: Path | list[Path], out: Path, **options) -> tuple[str, Page]:
    """Writes a report without pictures, and returns its text and its elements."""
    write_report([folders] if isinstance(folders, Path) else folders, out, **{"images": 0, **options})
    text = out.read_text()
    return text, Page(text)
