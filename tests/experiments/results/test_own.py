"""What `repair` and `detect` wrote about a user's own model, through the reader of experiment folders."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

from support.command import cli
from support.own_models import detection, repaired, write_own
from support.paths import FIXTURES
from unlearning.experiments.results.reader import read_folders
from unlearning.experiments.results.validate import validate_folders
from unlearning.records import DetectionResults, RepairResults, write_json
from unlearning.records.contradictions import contradictions


@pytest.fixture
def own(tmp_path: Path) -> Path:
    return write_own(tmp_path / "own")


class TestReader:
    def test_finds_both_kinds_with_what_stands_beside_them(self, own: Path) -> None:
        found = {one.name: one for one in read_folders([own], strict=True).own()}
        assert list(found) == ["repaired", "suspects"]
        assert isinstance(found["repaired"].results, RepairResults)
        assert isinstance(found["suspects"].results, DetectionResults)
        assert found["repaired"].suspects.name == "repaired-suspects.csv" and found["repaired"].suspects.is_file()
        assert found["suspects"].review.is_file() and found["suspects"].figure.is_file()

    def test_names_are_paths_below_the_folder_given(self, own: Path) -> None:
        assert [one.name for one in read_folders([own.parent]).own()] == ["own/repaired", "own/suspects"]

    def test_other_json_files_are_left_alone(self, own: Path) -> None:
        (own / "package.json").write_text("{broken")
        (own / "table.json").write_text('{"rows": 3}')
        (own / "table.csv").write_text("a\n1\n")
        assert len(read_folders([own], strict=True).own()) == 2

    def test_a_damaged_one_is_said_and_hides_no_other(self, own: Path) -> None:
        (own / "repaired.json").write_text('{"flagged_rows": 3}')
        tree = read_folders([own])
        assert [one.name for one in tree.own()] == ["suspects"]
        assert [problem.path.rpartition("/")[2] for problem in tree.problems] == ["repaired.json"]
        assert "repaired.json" in cli("show", own, cwd=own).stderr

    def test_those_in_cells_are_detections_there(self, own: Path, tmp_path: Path) -> None:
        shutil.copytree(FIXTURES / "cifar10-20000-cnn_small-symmetric", tmp_path / "experiment")
        cell = next((tmp_path / "experiment").glob("budget-*/seed-*"))
        for name in ("suspects.json", "suspects.csv"):
            shutil.copy(own / name, cell / name)
        tree = read_folders([tmp_path / "experiment"])
        assert not tree.own() and any(one.name == "suspects" for c in tree.cells() for one in c.detections)


class TestValidate:
    def test_finds_nothing_wrong(self, own: Path) -> None:
        report = validate_folders([own])
        assert not report.problems and report.records == 2 and report.files == 7

    def test_what_other_programs_and_people_get_belongs_to_it(self, own: Path) -> None:
        for name in (
            "suspects-audit.html",
            "suspects-audit.npz",
            "suspects-label-studio.json",
            "repaired-suspects.html",
        ):
            (own / name).write_text("{}")
        assert not validate_folders([own]).problems
        (own / "other-audit.html").write_text("")
        (own / "suspect.json").write_text("{}")
        assert [problem.path.rpartition("/")[2] for problem in validate_folders([own]).problems] == [
            "other-audit.html",
            "suspect.json",
        ]

    def test_counts_that_are_not_those_of_the_accuracy(self, own: Path) -> None:
        write_json(own / "repaired.json", repaired(test_accuracy_after=0.99))
        (problem,) = validate_folders([own]).problems
        assert problem.kind == "disagreement" and "confusion_after" in problem.message

    def test_counts_that_are_no_square(self) -> None:
        assert list(contradictions(repaired(confusion_before=[[1, 2]]))) == ["confusion_before is no square of counts"]
        assert list(contradictions(repaired(confusion_before=None, confusion_after=None))) == []

    def test_a_damaged_model(self, own: Path) -> None:
        (own / "repaired.keras").write_bytes(b"PK\x03\x04 cut short")
        (problem,) = validate_folders([own]).problems
        assert problem.path.endswith("repaired.keras")


class TestExport:
    def test_a_row_a_repair(self, own: Path) -> None:
        done = cli("export", own, "--out", "e.csv", cwd=own.parent)
        assert (done.returncode, done.stdout, done.stderr) == (0, "1 rows: e.csv\n", "")
        (row,) = csv.DictReader((own.parent / "e.csv").open())
        assert row["folder"] == "repaired" and float(row["test_accuracy_after"]) == repaired().test_accuracy_after
        assert row["information"] == "right labels" and row["detection.detector"] == "patches"

    def test_a_table_of_experiments_stays_one(self, own: Path) -> None:
        done = cli("export", own, FIXTURES, "--out", "e.csv", cwd=own.parent)
        rows = list(csv.DictReader((own.parent / "e.csv").open()))
        assert done.returncode == 0 and rows and all(row["experiment"] for row in rows)

    @pytest.mark.parametrize("form", ["tidy", "reference"])
    def test_of_what_it_has_no_columns_for_it_says_so(self, form: str, own: Path) -> None:
        if form == "tidy":
            for path in own.glob("repaired*"):
                path.unlink()
        done = cli("export", own, "--out", "e.csv", "--format", form, cwd=own.parent)
        assert done.returncode == 2 and done.stderr.count("\n") == 1
        assert ("own CSV file" if form == "tidy" else "own models only") in done.stderr


class TestShow:
    def test_tables_classes_files_and_command(self, own: Path) -> None:
        done = cli("show", own, cwd=own.parent)
        assert done.returncode == 0 and not done.stderr
        text = done.stdout
        assert "repaired:\n" in text and "suspects:\n" in text
        assert " frog    40   50.0  90.0  +40.0\n" in text, "the class that changed most"
        assert text.index("frog") < text.index("  dog "), "and first"
        assert "frog taken for cat: 15 -> 0" in text
        assert "python cli.py repair model.keras --data data.npz --detect patches" in text
        assert "Beside it: suspects.csv, suspects.html, suspects.png." in text
        assert max(map(len, text.splitlines())) <= 100

    def test_as_json(self, own: Path) -> None:
        found = json.loads(cli("show", own, "--json", cwd=own.parent).stdout)
        assert [one.get("flagged_rows", one.get("detector")) for one in found] == [3, "patches"]

    def test_there_is_nothing_to_compare_with(self, own: Path) -> None:
        done = cli("show", own, "--compare", cwd=own.parent)
        assert done.returncode == 2 and "your own models" in done.stderr

    def test_of_what_changed_nothing_there_are_no_classes(self, own: Path) -> None:
        write_json(own / "repaired.json", repaired(applied=False, status="not_beyond_chance"))
        assert "by class" not in cli("show", own, cwd=own.parent).stdout

    def test_records_of_before_they_had_classes_and_commands(self, own: Path) -> None:
        old = repaired(class_names=None, confusion_before=None, confusion_after=None, command=None)
        assert not {"command", "confusion_before"} & set(old.model_dump(mode="json"))
        write_json(own / "repaired.json", old)
        write_json(own / "suspects.json", detection(command=None))
        text = cli("show", own, cwd=own.parent).stdout
        assert "given" in text and "by class" not in text and "cli.py" not in text
