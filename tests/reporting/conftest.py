"""A grid of measured records, and its page."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.report_pages import Page, write_page
from support.report_trees import make_tree


@pytest.fixture(scope="session")
def tree(tmp_path_factory) -> Path:
    return make_tree(tmp_path_factory.mktemp("report") / "grid")


@pytest.fixture(scope="session")
def measured(tree, tmp_path_factory) -> tuple[str, Page]:
    return write_page(tree, tmp_path_factory.mktemp("page") / "report.html")
