"""Folders that `repair` and `detect` have written, without any model being repaired."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from unlearning.drawing.figures import draw_mixture
from unlearning.records import DetectionResults, Environment, RepairResults, write_json

BEFORE = [[30, 10, 0], [0, 40, 0], [15, 5, 20]]
AFTER = [[38, 2, 0], [1, 39, 0], [0, 4, 36]]
"""Test rows of three classes by label and prediction; only the second became worse."""
NAMES = ["cat", "dog", "frog"]
_WITH = Environment(python="3.11", tensorflow="2.21", keras="3.15", numpy="2", device="CPU", threads=1)


def detection(**changed) -> DetectionResults:
    """The record of a detection."""
    values = {
        **{"detector": "patches", "options": {"filters": 16}, "rows": 200, "num_classes": 3, "suspects": 3},
        **{"suspect_share": 0.015, "suggestions_changed": 3, "threshold": 0.5, "status": "ok", "class_names": NAMES},
        **{"metrics": None, "bad_rows": None, "seed": 0, "detection_duration_s": 4.0, "environment": _WITH},
        "command": ["detect", "model.keras", "--data", "data.npz", "--out", "suspects.csv"],
    }
    return DetectionResults.model_validate(values | changed)


def repaired(**changed) -> RepairResults:
    """The record of a repair that helped."""
    values = {
        **{"method": "second-order", "hyperparameters": {"steps": 1}, "flagged_rows": 3, "removed_rows": 0},
        **{"applied": True, "status": "improved", "validation_accuracy_before": 0.7, "validation_accuracy_after": 0.9},
        **{"test_accuracy_before": 90 / 120, "test_accuracy_after": 113 / 120},
        **{"corrected_accuracy_before": 0.0, "corrected_accuracy_after": 1.0},
        "work": {"forward_rows": 1, "gradient_rows": 1, "curvature_rows": 1},
        **{"unlearning_duration_s": 12.0, "solves": [], "history": [], "detection": detection(command=None)},
        **{"class_names": NAMES, "confusion_before": BEFORE, "confusion_after": AFTER, "environment": _WITH},
        "command": ["repair", "model.keras", "--data", "data.npz", "--detect", "patches", "--out", "repaired.keras"],
    }
    return RepairResults.model_validate(values | changed)


def write_suspect_rows(path: Path) -> None:
    """A list of three suspects, one of which is taken out, and of a row that is none."""
    lines = ["row,given_label,suggested_label,score,suspect,corrected_label"]
    lines += ["7,0,1,3.5,1,1", "150,2,0,2.5,1,0", "9,2,2,1.5,1,", "11,1,1,0.1,0,1"]
    path.write_text("\n".join(lines) + "\n")


def write_own(folder: Path, *, review: bool = True) -> Path:
    """A folder with a repair by detection and a detection of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "repaired.json", repaired())
    with zipfile.ZipFile(folder / "repaired.keras", "w") as archive:
        for name in ("config.json", "metadata.json"):
            archive.writestr(name, "{}")
    write_suspect_rows(folder / "repaired-suspects.csv")
    write_json(folder / "suspects.json", detection())
    write_suspect_rows(folder / "suspects.csv")
    draw_mixture(folder / "suspects.png", np.linspace(0, 4, 200), mixture=None, threshold=0.5, label="score")
    if review:
        (folder / "suspects.html").write_text("<!doctype html><title>Review</title>")
    return folder
