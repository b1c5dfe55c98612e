"""Detection from the command line: the files, the record, the figure."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

from support.command import TINY, cli
from support.detection import FLIPS, detect
from support.small import fitted, poisoned_task, small_model
from unlearning.detection.base import Detection, DetectionStatus
from unlearning.drawing.figures import draw_mixture
from unlearning.errors import InputError
from unlearning.experiments.cell.examining import detect_rows
from unlearning.records import DetectionResults, read_json
from unlearning.repairs.flagged import read_flagged, write_suspects
from unlearning.repairs.paths import repair_file
from unlearning.task import REMOVED, Split


@pytest.fixture(scope="module")
def planted() -> tuple[keras.Model, Split, np.ndarray]:
    """A model trained for a few epochs on 400 rows, of which the first 80 are mislabelled; and the true labels."""
    task, true = poisoned_task(rows=400, flips=FLIPS)
    return fitted(small_model(), task.train, epochs=15), task.train, true


class TestFiles:
    def test_the_csv_is_what_repair_reads(self, planted, tmp_path: Path) -> None:
        model, split, _ = planted
        found = detect("neighbours", model, split)
        write_suspects(tmp_path / "a.csv", split, found)
        flagged = read_flagged(tmp_path / "a.csv", len(split), 3)
        assert sorted(flagged.rows) == found.suspects.tolist()
        np.testing.assert_array_equal(flagged.labels, found.suggested_labels[flagged.rows])
        with (tmp_path / "a.csv").open() as file:
            rows = list(csv.DictReader(file))
        scores = [float(row["score"]) for row in rows]
        assert scores == sorted(scores, reverse=True) and {row["suspect"] for row in rows} == {"1"}
        write_suspects(tmp_path / "all.csv", split, found, all_rows=True)
        everything = read_flagged(tmp_path / "all.csv", len(split), 3)
        expected = split.labels.copy()
        expected[found.suspects] = found.suggested_labels[found.suspects]
        np.testing.assert_array_equal(everything.labels, expected[everything.rows])

    def test_a_suspect_without_another_label_is_removed(self, tmp_path: Path) -> None:
        split = Split(np.zeros((3, 2, 2, 1), np.float32), np.array([0, 1, 2]))
        found = Detection(np.array([3.0, 2.0, 1.0]), np.array([0, 1]), np.array([2, 1, 2]), 1.5, DetectionStatus.OK, {})
        write_suspects(tmp_path / "a.csv", split, found, all_rows=True)
        flagged = read_flagged(tmp_path / "a.csv", 3, 3)
        assert dict(zip(flagged.rows.tolist(), flagged.labels.tolist(), strict=True)) == {0: 2, 1: REMOVED, 2: 2}

    def test_no_suspects_leave_only_the_header(self, planted, tmp_path: Path) -> None:
        model, split, _ = planted
        write_suspects(tmp_path / "a.csv", split, detect("self-influence", model, split, cut="value", value=1e6))
        assert (tmp_path / "a.csv").read_text() == "row,given_label,suggested_label,score,suspect,corrected_label\n"
        with pytest.raises(InputError, match="flags no row"):
            read_flagged(tmp_path / "a.csv", len(split), 3)

    @pytest.mark.parametrize("known", [False, True])
    def test_the_figure(self, planted, tmp_path: Path, known: bool) -> None:
        found = detect("loss-mixture", *planted[:2])
        mixture = found.details["mixture"] if known else None
        bad = np.arange(FLIPS) if known else None
        draw_mixture(tmp_path / "a.png", found.scores, mixture=mixture, threshold=found.threshold, bad_rows=bad)
        draw_mixture(tmp_path / "b.png", np.zeros(9), bad_rows=bad if bad is None else np.empty(0, int))
        assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


class TestCommand:
    @pytest.fixture(scope="class")
    def folder(self, tiny: Path, tmp_path_factory) -> Path:
        """A trained cell under `e`, and what a user would have of it: `data.npz` with wrong labels, and the model."""
        from unlearning.data import load_data
        from unlearning.noise import Corruption

        folder = tmp_path_factory.mktemp("detect")
        shutil.copytree(tiny, folder / "e")
        data = load_data("digits", train_rows=300)
        given = Corruption.load(folder / "e/budget-60/seed-1/corruption.npz").apply(data.train)
        np.savez(
            folder / "data.npz",
            **{
                f"{name}_{key}": getattr(split, key)
                for name, split in (("train", given), ("validation", data.validation), ("test", data.test))
                for key in ("images", "labels")
            },
        )
        (folder / "model.keras").write_bytes((folder / "e/budget-60/seed-1/poisoned_model.keras").read_bytes())
        return folder

    def test_a_cell_is_scored(self, folder: Path) -> None:
        before = {p: p.stat().st_mtime_ns for p in (folder / "e").rglob("*")}
        done = cli("detect", "e/budget-60/seed-1", "--detect", "cross-validation", "--out", "a/s.csv", cwd=folder)
        assert done.returncode == 0, done.stderr
        assert "AUROC" in done.stdout and max(map(len, done.stdout.splitlines())) <= 110
        record = read_json(folder / "a/s.json", DetectionResults)
        assert record.metrics is not None and record.metrics.auroc > 0.75 and record.bad_rows == 60
        assert (folder / "a/s.png").is_file()
        assert before == {p: p.stat().st_mtime_ns for p in (folder / "e").rglob("*")}
        again = cli("detect", "e/budget-60/seed-1", "--out", "a/s.csv", cwd=folder)
        assert again.returncode == 2 and "--force" in again.stderr and len(again.stderr.splitlines()) == 1

    def test_a_cell_keeps_its_suspects(self, folder: Path) -> None:
        """Without --out they stand where repairs of the cell look for them, and are found again."""
        shutil.copytree(folder / "e", folder / "f")
        cell = Path("f/budget-60/seed-1")
        first = cli("detect", cell, "--detect", "neighbours", cwd=folder)
        assert first.returncode == 0, first.stderr
        files = {p.name: p.stat().st_mtime_ns for p in (folder / cell / "detect-neighbours").iterdir()}
        assert set(files) == {"detection_results.json", "scores.png", "suspects.csv"}
        assert str(cell / "detect-neighbours/suspects.csv") in first.stdout
        again = cli("detect", cell, "--detect", "neighbours", "--json", cwd=folder)
        assert json.loads(again.stdout)[0]["bad_rows"] == 60 and again.stderr == ""
        assert files == {p.name: p.stat().st_mtime_ns for p in (folder / cell / "detect-neighbours").iterdir()}
        options = ("--detect", "neighbours", "--methods", "first-order", "--out", "f")
        repaired = cli("run", *TINY, *options, cwd=folder)
        assert repaired.returncode == 0 and "detecting by" not in repaired.stderr, repaired.stderr
        assert cli("validate", "f", cwd=folder).returncode == 0
        refused = cli("detect", cell, "--all-rows", cwd=folder)
        assert refused.returncode == 2 and "--out" in refused.stderr

    def test_true_labels_play_no_part(self, folder: Path) -> None:
        """A user's model and data, in which the true labels do not exist, give the same suspects as the cell."""
        options = {"detector": "combination", "data_dir": None}
        cell = detect_rows(target=folder / "e/budget-60/seed-1", dataset=None, out=folder / "b/cell.csv", **options)
        own = detect_rows(
            target=folder / "model.keras", dataset=str(folder / "data.npz"), out=folder / "b/own.csv", **options
        )
        assert (folder / "b/cell.csv").read_bytes() == (folder / "b/own.csv").read_bytes()
        assert cell.metrics is not None and own.metrics is None and own.bad_rows is None

    def test_suspects_can_be_repaired(self, folder: Path) -> None:
        detect_rows(
            target=folder / "model.keras",
            dataset=str(folder / "data.npz"),
            detector="neighbours",
            overrides={"cut": "share"},
            out=folder / "s.csv",
        )
        repaired = repair_file(
            model=folder / "model.keras",
            dataset=str(folder / "data.npz"),
            flagged=folder / "s.csv",
            method="first-order",
            out=folder / "fixed.keras",
        )
        assert repaired.flagged_rows == 60 and repaired.removed_rows == 0

    @pytest.mark.parametrize(
        ("change", "match"),
        [
            ({"target": "none.keras"}, "an existing .keras file"),
            ({"target": "data.npz"}, "RUN_DIR|budget-<B>"),
            ({"target": "e"}, "budget-<B>"),
            ({"dataset": None}, "--data"),
            ({"out": "x/s.txt"}, ".csv"),
            ({"detector": "no-such"}, "one of loss-mixture"),
            ({"overrides": {"no": "1"}}, "loss-mixture.no"),
            ({"target": "e/budget-61/seed-1"}, "an existing"),
            ({"dataset": "mnist", "target": "e/budget-60/seed-1"}, "of this cell"),
        ],
    )
    def test_bad_input_writes_nothing(self, folder: Path, change: dict, match: str) -> None:
        options = {"target": "model.keras", "dataset": str(folder / "data.npz"), "detector": "loss-mixture"} | change
        options["target"] = folder / options["target"]
        with pytest.raises(InputError, match=match):
            detect_rows(out=folder / change.get("out", "x/s.csv"), **{k: v for k, v in options.items() if k != "out"})
        assert not (folder / "x").exists()

    def test_unfinished_or_damaged_cells(self, folder: Path, tmp_path: Path) -> None:
        import shutil

        cell = tmp_path / "e/budget-60/seed-1"
        shutil.copytree(folder / "e", tmp_path / "e")
        (cell / "poisoned_model.keras").write_bytes(b"other")
        with pytest.raises(InputError, match="hash"):
            detect_rows(target=cell, dataset=None, detector="loss-mixture", out=tmp_path / "s.csv")
        (cell / "train_results.json").unlink()
        with pytest.raises(InputError, match="is trained"):
            detect_rows(target=cell, dataset=None, detector="loss-mixture", out=tmp_path / "s.csv")
