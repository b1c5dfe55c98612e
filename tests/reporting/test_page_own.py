"""The report on a user's own model."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.own_models import NAMES, repaired, write_own
from support.report_pages import Page, write_page
from support.report_trees import HOSTILE
from unlearning.records import write_json
from unlearning.reporting.classes import changed_mistakes, class_changes


@pytest.fixture
def own(tmp_path: Path) -> Path:
    return write_own(tmp_path / "own")


def told(page: Page) -> str:
    return " ".join(" ".join(page.text).split())


class TestClasses:
    def test_most_changed_first(self) -> None:
        found = [(one.name, one.rows, round(one.change, 3)) for one in class_changes(repaired())]
        assert found == [("frog", 40, 0.4), ("cat", 40, 0.2), ("dog", 40, -0.025)]
        mistakes = [(one.label, one.said, one.before, one.after) for one in changed_mistakes(repaired())]
        assert mistakes[:2] == [("frog", "cat", 15, 0), ("cat", "dog", 10, 2)]

    @pytest.mark.parametrize("counts", [[[1, 2], [3]], [[1, 2], [3, 4]], [[40, 0, 0], [40, 0, 0], [39, 0, 0]], None])
    def test_counts_that_do_not_fit_are_no_counts(self, counts: list | None) -> None:
        record = repaired(confusion_before=counts)
        assert not class_changes(record) and not changed_mistakes(record)

    def test_more_classes_than_names(self) -> None:
        assert {one.name for one in class_changes(repaired(class_names=NAMES[:1]))} == {"cat", "1", "2"}


class TestPage:
    def test_answers_first_and_holds_nothing_else(self, own: Path) -> None:
        text, page = write_page(own, own.parent / "report.html")
        said = told(page)
        assert "75.0 → 94.2 % of the test rows are told right, +19.2 points, in 12 s" in said
        assert said.index("+19.2 points") < said.index("frog") < said.index("repair model.keras --data data.npz")
        assert not page.scripts and len(text) < 200_000, "no charts, no library"
        assert "No repair is finished yet" not in text and "cells done" not in text

    def test_suspects_and_the_way_to_decide_on_them(self, own: Path) -> None:
        _, page = write_page(own, own.parent / "report.html")
        links = [attributes for tag, attributes in page.tags if tag == "a" and attributes.get("class") == "go"]
        assert [link["href"] for link in links] == ["own/suspects.html"]
        assert any(tag == "img" and (a["src"] or "").startswith("data:image/png") for tag, a in page.tags)
        said = told(page)
        assert "cat → dog: 1" in said and "frog → removed: 1" in said
        assert "The 3 most suspicious rows" in said, "the fourth is none"

    def test_rows_are_as_many_as_asked_for(self, own: Path) -> None:
        lines = [f"{row},0,1,{row},1,1" for row in range(80)]
        (own / "suspects.csv").write_text(
            "row,given_label,suggested_label,score,suspect,corrected_label\n" + "\n".join(lines)
        )
        assert "The 50 most suspicious rows of 80 listed" in told(write_page(own, own.parent / "report.html")[1])

    def test_nothing_was_changed(self, own: Path) -> None:
        write_json(own / "repaired.json", repaired(applied=False, status="not_beyond_chance"))
        said = told(write_page(own, own.parent / "report.html")[1])
        assert "the model is as it was (not beyond chance)" in said and "What changed by class" not in said

    def test_names_are_text(self, own: Path) -> None:
        names = [HOSTILE, *NAMES[1:]]
        write_json(own / "repaired.json", repaired(class_names=names, command=["repair", HOSTILE]))
        text, page = write_page(own, own.parent / "report.html")
        assert "<img src=x" not in text and not page.scripts and HOSTILE in told(page)

    def test_beside_an_experiment(self, own: Path, tree: Path) -> None:
        text, page = write_page([own, tree], own.parent / "report.html")
        assert text.index('id="own-1"') < text.index('id="results"') and page.data["rows"]

    def test_a_damaged_list_is_said(self, own: Path) -> None:
        (own / "suspects.csv").write_text("row\nx\n")
        assert "is not a list of suspects" in told(write_page(own, own.parent / "report.html")[1])
