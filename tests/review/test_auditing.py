"""An audit in memory and on the command line: from the questions to a cut and a verdict."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from support.command import cli
from support.small import fitted, poisoned_task, small_model
from unlearning import detect
from unlearning.errors import InputError
from unlearning.records import DetectionResults, read_json
from unlearning.repairs.flagged import read_flagged
from unlearning.repairs.found import Found


@pytest.fixture(scope="module")
def planted() -> tuple[Found, np.ndarray]:
    """What `neighbours` finds where 80 of 400 labels are wrong, and the true labels."""
    task, true = poisoned_task(rows=400, flips=80)
    return detect(fitted(small_model(), task.train, epochs=15), task.train, detector="neighbours"), true


class TestInMemory:
    def test_answers_say_how_many_are_wrong(self, planted) -> None:
        found, true = planted
        audited = found.audit((np.arange(400), true))
        told, given = audited.record.audit, found.source.split.labels
        assert told is not None and told.asked == told.answered == 50 and told.verdict == "worth_it"
        wrong = true != given
        assert told.share.low <= wrong.mean() <= told.share.high
        assert told.precision.low <= wrong[found.suspected.rows].mean() <= told.precision.high
        assert not np.isin(audited.suspected.rows, audited.known.rows).any()
        assert found.record.audit is None and audited.record.suspects == len(audited.suspected)
        assert any("A repair is worth it" in line for line in told.lines())

    def test_good_labels_are_not_worth_a_repair(self) -> None:
        rng = np.random.default_rng(0)
        from unlearning.review.auditing import Verdict, judge
        from unlearning.review.sampling import draw_sample
        from unlearning.task import Corrections

        scores, given = rng.normal(size=4000), np.zeros(4000, dtype=int)
        suspects = np.flatnonzero(scores > 2)
        verdicts = []
        for size in (50, 1000):
            sample = draw_sample(scores, suspects, size, 0)
            answers = Corrections(sample.rows, np.zeros(len(sample.rows), dtype=int))
            verdicts.append(judge(scores, suspects, given, given, sample, answers).verdict)
        assert verdicts == [Verdict.UNSURE, Verdict.NOT_WORTH_IT]

    def test_some_answers_are_enough_and_others_are_no_answers(self, planted) -> None:
        found, true = planted
        whole = found.audit((np.arange(400), true)).record.audit
        half = found.audit((np.arange(0, 400, 2), true[::2])).record.audit
        assert 10 < half.answered < 40 and half.share.high - half.share.low > whole.share.high - whole.share.low
        rows = np.setdiff1d(np.arange(400), found.audit((np.arange(400), true)).known.rows)
        assert len(rows) == 0  # all that was told is known
        with pytest.raises(InputError, match="rows that the audit asked about"):
            asked = {int(r) for r in read_rows(found)}
            found.audit({row: 0 for row in range(400) if row not in asked})

    def test_one_that_was_read_back_has_no_rows_to_show(self, planted, tmp_path: Path) -> None:
        found = Found(planted[0].suspected, planted[0].record)
        with pytest.raises(InputError, match="detect again"):
            found.review(tmp_path / "a.html")


def read_rows(found: Found) -> np.ndarray:
    from unlearning.repairs.found import draw_questions

    return draw_questions(found, 50).rows


class TestCommand:
    @pytest.fixture(scope="class")
    def folder(self, tmp_path_factory) -> Path:
        """A model of one's own with wrong labels, its suspects, and an audit."""
        folder = tmp_path_factory.mktemp("audit")
        task, true = poisoned_task(rows=400, flips=80)
        fitted(small_model(), task.train, epochs=15).save(folder / "model.keras")
        np.savez(
            folder / "data.npz",
            train_images=task.train.images,
            train_labels=task.train.labels,
            test_images=task.validation.images,
            test_labels=task.validation.labels,
        )
        np.save(folder / "true.npy", true)
        done = self.detect(folder, "--audit", 60, "--detect", "neighbours")
        assert done.returncode == 0, done.stderr
        (folder / "out").write_text(done.stdout)
        return folder

    @staticmethod
    def detect(folder: Path, *arguments: object) -> subprocess.CompletedProcess:
        return cli("detect", "model.keras", "--data", "data.npz", "--out", "s.csv", *arguments, cwd=folder)

    @staticmethod
    def answer(folder: Path, to: Path) -> None:
        """What a person who knows the truth downloads from the page."""
        with np.load(folder / "s-audit.npz") as kept:
            rows = kept["rows"]
        true = np.load(folder / "true.npy")
        lines = [f"{row},{true[row]}" for row in rows.tolist()]
        to.write_text("\n".join(["row,corrected_label", *lines, ""]))

    def test_the_files(self, folder: Path) -> None:
        names = ["s.csv", "s.json", "s.png", "s.html", "s-audit.html", "s-audit.npz"]
        assert all((folder / name).is_file() for name in names)
        assert f"Files: {', '.join(names)}" in (folder / "out").read_text()

    def test_answers_move_nothing_else_and_detect_nothing(self, folder: Path, tmp_path: Path) -> None:
        shutil.copytree(folder, tmp_path / "f")
        self.answer(folder, tmp_path / "f/answers.csv")
        before = {path: path.read_bytes() for path in (tmp_path / "f").iterdir()}
        done = self.detect(tmp_path / "f", "--answers", "answers.csv")
        assert done.returncode == 0, done.stderr
        assert "60 of 60 rows were answered" in done.stdout and "A repair is worth it" in done.stdout
        assert "Files: s-audited.csv, s-audited.json, s-audited.html" in done.stdout
        assert max(map(len, done.stdout.splitlines())) <= 110
        assert all(path.read_bytes() == content for path, content in before.items())
        record = read_json(tmp_path / "f/s-audited.json", DetectionResults)
        first = read_json(tmp_path / "f/s.json", DetectionResults)
        assert record.audit is not None and first.audit is None
        assert (record.detector, record.detection_duration_s) == (first.detector, first.detection_duration_s)
        true = np.load(folder / "true.npy")
        assert record.audit.share.low <= 0.2 <= record.audit.share.high
        flagged = read_flagged(tmp_path / "f/s-audited.csv", 400, 3)
        with np.load(folder / "s-audit.npz") as kept:
            asked = kept["rows"]
        told = dict(zip(flagged.rows.tolist(), flagged.labels.tolist(), strict=True))
        assert all(told[row] == true[row] for row in asked.tolist()), "answers are believed"
        with (tmp_path / "f/s-audited.csv").open() as file:
            suspects = [int(line["row"]) for line in csv.DictReader(file) if line["suspect"] == "1"]
        assert len(suspects) == record.suspects and not set(suspects) & set(asked.tolist())
        again = self.detect(tmp_path / "f", "--answers", "answers.csv")
        assert again.returncode == 2 and "--force" in again.stderr

    def test_known_rows_are_not_asked_about(self, folder: Path, tmp_path: Path) -> None:
        shutil.copytree(folder, tmp_path / "f", ignore=shutil.ignore_patterns("s*"))
        true = np.load(folder / "true.npy")
        rows = range(0, 400, 4)
        (tmp_path / "f/k.csv").write_text("row,corrected_label\n" + "".join(f"{r},{true[r]}\n" for r in rows))
        options = ("--detect", "neighbours", "--flagged", "k.csv")
        assert self.detect(tmp_path / "f", "--audit", 60, *options).returncode == 0
        self.answer(tmp_path / "f", tmp_path / "f/answers.csv")
        with np.load(tmp_path / "f/s-audit.npz") as kept:
            assert not set(kept["rows"].tolist()) & set(rows) and kept["sizes"].sum() == 300
        done = self.detect(tmp_path / "f", "--answers", "answers.csv", "--json")
        assert json.loads(done.stdout)[0]["audit"]["answered"] == 60
        assert len(read_flagged(tmp_path / "f/s-audited.csv", 400, 3)) >= 160  # known ones and answers go with it

    @pytest.mark.parametrize(
        ("change", "match"),
        [
            ("nothing", "s-audit.npz is missing"),
            ("data", "other data than these"),
            ("damaged", "without pickles"),
            ("arrays", "Cannot use s-audit.npz"),
            ("rows", "other arrays than those of an audit"),
            ("answers", "rows that the audit asked about"),
            ("few", "audit"),
        ],
    )
    def test_what_does_not_fit_is_refused_and_nothing_written(
        self, folder: Path, tmp_path: Path, change: str, match: str
    ) -> None:
        shutil.copytree(folder, tmp_path / "f")
        self.answer(folder, tmp_path / "f/answers.csv")
        kept = tmp_path / "f/s-audit.npz"
        with np.load(kept) as file:
            arrays = dict(file)
        if change == "nothing":
            kept.unlink()
        elif change == "damaged":
            kept.write_bytes(b"PK")
        elif change == "data":
            np.savez(kept, **{**arrays, "labels_sha256": arrays["labels_sha256"] ^ 1})
        elif change == "arrays":
            np.savez(kept, **{name: array for name, array in arrays.items() if name != "scores"})
        elif change == "rows":
            np.savez(kept, **{**arrays, "rows": arrays["rows"] + 400})
        elif change == "answers":
            row = next(row for row in range(400) if row not in arrays["rows"])
            (tmp_path / "f/answers.csv").write_text(f"row,corrected_label\n{row},0\n")
        more = ("--audit", 3) if change == "few" else ("--answers", "answers.csv")
        done = self.detect(tmp_path / "f", *more)
        assert done.returncode == 2 and match in done.stderr and "Traceback" not in done.stderr, done.stderr
        assert not list((tmp_path / "f").glob("s-audited*"))

    def test_exports_and_texts(self, folder: Path, tmp_path: Path) -> None:
        shutil.copytree(folder, tmp_path / "f", ignore=shutil.ignore_patterns("s*"))
        (tmp_path / "f/t.txt").write_text("".join(f"row {row}\n" for row in range(400)))
        options = ("--detect", "neighbours", "--export", "cvat", "--texts", "t.txt", "--images", 5)
        done = self.detect(tmp_path / "f", *options)
        assert done.returncode == 0 and "s-cvat.zip" in done.stdout
        page = (tmp_path / "f/s.html").read_text()
        suspects = read_flagged(tmp_path / "f/s-cvat.zip", 400, 3)
        assert f'"row {suspects.rows[0]}"' in page and page.count("UklGR") == 5
        (tmp_path / "f/t.txt").write_text("one\n")
        assert "one entry each (400)" in self.detect(tmp_path / "f", *options, "--force").stderr

    def test_a_repair_by_detection_has_the_page_too(self, folder: Path, tmp_path: Path) -> None:
        shutil.copytree(folder, tmp_path / "f")
        arguments = ("repair", "model.keras", "--data", "data.npz", "--detect", "neighbours", "--method", "first-order")
        done = cli(*arguments, "--out", "fixed.keras", cwd=tmp_path / "f")
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "f/fixed-suspects.html").is_file() and (tmp_path / "f/fixed-suspects.csv").is_file()
