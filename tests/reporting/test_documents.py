"""Documents say what the published records say."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from support.paths import ROOT
from unlearning.errors import InputError
from unlearning.experiments.published.config import config_files
from unlearning.reporting.documents import documents, fill, fill_files

DIGITS = "models/published/digits-cnn_small-flip-pairs"


@pytest.fixture
def clone(tmp_path: Path, monkeypatch) -> Path:
    """A copy of what the table `digits` is made of, with a page deep in docs/."""
    shutil.copytree(ROOT / DIGITS, tmp_path / DIGITS)
    (tmp_path / "configs").mkdir()
    shutil.copy(ROOT / "configs/digits.toml", tmp_path / "configs")
    page = tmp_path / "docs/results/page.md"
    page.parent.mkdir(parents=True)
    page.write_text("before\n\n<!-- table digits -->\nold\n<!-- end -->\nafter\n")
    monkeypatch.chdir(tmp_path)
    return page


def test_text_between_markers_is_what_the_records_give(monkeypatch) -> None:
    monkeypatch.chdir(ROOT)
    for path in documents():
        text = path.read_text(encoding="utf-8")
        assert fill(text, str(path)) == text, f"{path}: run python -m unlearning.reporting.documents"


def test_every_table_stands_somewhere(monkeypatch) -> None:
    monkeypatch.chdir(ROOT)
    texts = "".join(path.read_text(encoding="utf-8") for path in documents() if path.suffix == ".md")
    assert set(re.findall(r"^<!-- table (\S+) -->$", texts, re.MULTILINE)) == {path.stem for path in config_files()}


class TestFilling:
    def test_pages_below_docs_are_filled_and_stay_so(self, clone: Path) -> None:
        assert fill_files(documents()) == [clone.relative_to(Path.cwd())]
        text = clone.read_text()
        assert text.startswith("before\n\n<!-- table digits -->\n| method | ") and text.endswith(
            "<!-- end -->\nafter\n"
        )
        assert "| `second-order` | " in text and "old" not in text
        assert fill_files(documents()) == []

    def test_a_changed_record_changes_tables_and_expected_numbers(self, clone: Path) -> None:
        fill_files(documents())
        path = Path(DIGITS, "budget-251/seed-42/first-order/unlearning_results.json")
        content = json.loads(path.read_text())
        path.write_text(json.dumps({**content, "acc_after_fix": content["acc_after_fix"] - 0.3}))
        for stale in (clone, Path("configs/digits.toml")):
            text = stale.read_text()
            assert fill(text) != text, stale

    def test_a_changed_text_is_written_anew(self, clone: Path) -> None:
        fill_files(documents())
        right = clone.read_text()
        clone.write_text(right.replace("±", "+", 1))
        assert fill_files(documents()) and clone.read_text() == right

    def test_a_changed_column_changes_the_table(self, clone: Path) -> None:
        """And the numbers that were expected of the old one do not keep it from being read."""
        fill_files(documents())
        config = Path("configs/digits.toml")
        config.write_text(config.read_text().replace('"clean", "before", "after"', '"after"'))
        assert set(fill_files(documents())) == {clone.relative_to(Path.cwd()), config}
        assert "| method | after, % |" in clone.read_text() and '"clean"' not in config.read_text()

    @pytest.mark.parametrize(
        ("text", "match"),
        [
            ("<!-- table digits -->\n", "no <!-- end -->"),
            ("<!-- table digits -->\n<!-- table digits -->\n<!-- end -->\n", "no <!-- end -->"),
            ("<!-- table hope -->\n<!-- end -->\n", "digits"),
        ],
    )
    def test_broken_markers(self, clone: Path, text: str, match: str) -> None:
        clone.write_text(text)
        with pytest.raises(InputError, match=match):
            fill_files(documents())
        assert clone.read_text() == text

    def test_a_row_without_records(self, clone: Path) -> None:
        for folder in Path(DIGITS).glob("budget-251/seed-*/first-order"):
            shutil.rmtree(folder)
        with pytest.raises(InputError, match="no records of first-order"):
            fill_files(documents())
