"""Commands that detect and repair in one go."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from support.command import cli
from support.detection import digits
from support.grid import registered


class TestCommands:
    @pytest.mark.slow
    def test_run_detects_once_and_finds_it_again(self, tmp_path: Path) -> None:
        options = (
            *("--model", "tiny", "--train-rows", 400, "--epochs", 6, "--batch-size", 32),
            *("--noise", "symmetric", "--rates", 0.3),
            *("--methods", "first-order,fspmu", "--set", "fspmu.epochs=1"),
            *("--detect", "patches", "--set", "patches.filters=16", "--out", "e"),
        )
        with registered():
            done = cli("run", *options, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        cell = tmp_path / "e/budget-120/seed-42"
        found = next(cell.glob("detect-patches-*"))
        record = json.loads((found / "detection_results.json").read_text())
        assert record["metrics"]["auroc"] > 0.7 and record["bad_rows"] == 120
        results = [json.loads(p.read_text()) for p in cell.glob("*/unlearning_results.json")]
        seconds = {result["details"]["detection"]["detection_duration_s"] for result in results}
        assert len(results) == 2 and len(seconds) == 1, "the second method found the suspects that were there"
        for result in results:
            assert result["details"]["detection"]["metrics"] == record["metrics"]
            assert result["details"]["flagged_by"][0]["suspects"] == record["suspects"]
            assert result["unlearning_duration_s"] > record["detection_duration_s"]
            assert result["config"]["hyperparameters"]["detector"]["name"] == "patches"
        with registered():
            again = cli("run", *options, cwd=tmp_path)
        assert again.returncode == 0 and "detecting" not in again.stderr and again.stdout == done.stdout
        checked = cli("validate", "e", cwd=tmp_path)
        assert checked.returncode == 0, checked.stdout
        self.repairs_a_model_by_detection(tmp_path, cell)

    def repairs_a_model_by_detection(self, folder: Path, cell: Path) -> None:
        """One command from a model and its data to a repaired model and a list of suspects."""
        split, _ = digits(600, 100)
        np.savez(folder / "data.npz", images=split.images, labels=split.labels)
        done = cli(
            *("repair", cell / "poisoned_model.keras", "--data", "data.npz", "--detect", "loss-ranking"),
            *("--method", "second-order", "--set", "steps=2", "--out", "repaired.keras", "--rounds", 2),
            cwd=folder,
        )
        assert done.returncode == 0, done.stderr
        record = json.loads((folder / "repaired.json").read_text())
        lines = (folder / "repaired-suspects.csv").read_text().splitlines()
        assert (
            record["detection"]["detector"] == "loss-ranking" and record["detection"]["suspects"] == len(lines) - 1 > 0
        )
        assert record["flagged_rows"] == len(lines) - 1
        assert "rows are suspect" in done.stdout and (folder / "repaired.keras").is_file()

    def test_mistakes(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "data.npz", images=np.zeros((9, 8, 8, 1)), labels=np.zeros(9, int))
        for arguments, message in (
            (("run", "--suspects", "remove"), "need --detect"),
            (("run", "--detect", "oracle"), "oracle"),
            (("run", "--detect", "patches", "--set", "patches.speed=1"), "speed"),
            (("run", "--detect", "patches", "--rounds", "0"), "rounds"),
            (
                (
                    "repair",
                    "m.keras",
                    "--data",
                    "data.npz",
                    "--flagged",
                    "f.csv",
                    "--detect",
                    "gmm",
                    "--out",
                    "o.keras",
                ),
                "an existing file",
            ),
        ):
            done = cli(*arguments, cwd=tmp_path)
            assert done.returncode == 2 and message in done.stderr, (arguments, done.stderr)
            assert not (tmp_path / "models").exists()
