"""Experiment folders for the tests of the report page, copied from measured records."""

from __future__ import annotations

import csv
import functools
import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from support.paths import FIXTURES
from unlearning.drawing.figures import draw_confusions

SOURCE = FIXTURES / "cifar10-20000-cnn_small-flip-pairs"
CELL = SOURCE / "budget-4000" / "seed-42"
METHODS = (
    "fine-tuning",
    "first-order",
    "first-order-reference",
    "sap",
    "sap+second-order",
    "second-order",
    "second-order-lissa",
    "second-order-single",
)
PICTURED = tuple(name for name in METHODS if "order" in name and "sap" not in name)
"""Those whose confusion matrices version 0.1 drew, and did not record."""
CALLED = tuple("fine-tuning (constant)" if name == "fine-tuning" else name for name in METHODS)
"""What they are called: the records are of version 0.1."""
NAMES = ("airplane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
HOSTILE = "<img src=x onerror=window.pwned=1></script><script>window.pwned=2</script>"
FAILURE = '</script><script>window.pwned=3</script> & "quotes"'


def change(path: Path, **values: object) -> None:
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | values))


@functools.cache
def draw_matrix(when: str, seed: int) -> bytes:
    """A confusion matrix as version 0.1 drew it."""
    matrix = np.random.default_rng(seed).integers(0, 40, (10, 10)) + 300 * np.eye(10, dtype=int)
    with tempfile.TemporaryDirectory() as folder:
        draw_confusions(Path(folder), {when: matrix}, NAMES)
        return Path(folder, f"confusion_{when}.png").read_bytes()


def make_tree(
    folder: Path,
    budgets: Sequence[int] = (1000, 2000, 4000, 8000),
    seeds: Sequence[int] = (42, 43, 44),
    methods: Sequence[str] = METHODS,
    class_names: Sequence[str] | None = NAMES,
) -> Path:
    """A grid whose numbers differ a little from cell to cell; matrices are drawn, and recorded of even seeds."""
    shutil.copytree(SOURCE / "clean", folder / "clean")
    for i, budget in enumerate(budgets):
        for j, seed in enumerate(seeds):
            cell = folder / f"budget-{budget}" / f"seed-{seed}"
            cell.mkdir(parents=True)
            for name in ("train_config.json", "poison_config.json", "train_results.json"):
                shutil.copy(CELL / name, cell / name)
            change(cell / "train_config.json", seed=seed)
            change(cell / "poison_config.json", seed=seed, budget=budget)
            for k, name in enumerate(methods):
                shutil.copytree(CELL / name, cell / name)
                if name in PICTURED:
                    (cell / name / "figures").mkdir()
                    for when, drawn in (("before", len(METHODS)), ("after", METHODS.index(name))):
                        (cell / name / "figures" / f"confusion_{when}.png").write_bytes(draw_matrix(when, drawn))
                results = cell / name / "unlearning_results.json"
                content = json.loads(results.read_text())
                after = content["acc_after_fix"] - 0.02 * i + 0.005 * j
                recall = [round(0.5 + 0.03 * n + 0.01 * k, 3) for n in range(10)]
                report = {
                    str(n): {"precision": 0.5, "recall": recall[n], "f1-score": 0.5, "support": 500} for n in range(10)
                }
                counts = [[400 if n == m else 11 + k for m in range(10)] for n in range(10)]
                change(
                    results,
                    budget=budget,
                    seed=seed,
                    config=content["config"] | {"seed": seed},
                    acc_after_fix=after,
                    acc_perc_restored=(after - content["acc_before_fix"])
                    / (content["acc_clean"] - content["acc_before_fix"]),
                    unlearning_duration_s=content["unlearning_duration_s"] * (1 + 0.1 * j),
                    class_report_before=report,
                    class_report_after=report,
                    class_names=None if class_names is None else list(class_names),
                    **({} if seed % 2 else {"confusion_before": counts, "confusion_after": counts}),
                )
                change(cell / name / "unlearn_config.json", seed=seed)
    return folder


def add_detection(cell: Path, rows: Sequence[tuple[int, int, int]], detector: str = "patches") -> Path:
    """Puts a detection into a cell: its record, and a list of suspects from `(row, given, suggested)`."""
    folder = cell / f"detect-{detector}"
    folder.mkdir()
    shutil.copy(CELL / "detections" / "patches.json", folder / "detection_results.json")
    change(folder / "detection_results.json", detector=detector, suspects=len(rows))
    with (folder / "suspects.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["row", "given_label", "suggested_label", "score", "suspect", "corrected_label"])
        for number, (row, given, suggested) in enumerate(rows):
            writer.writerow([row, given, suggested, 10 - number / 10, 1, suggested])
    return folder


def fail(cell: Path, stage: str, message: str) -> None:
    """Writes a cell's `failure.json`."""
    environment = json.loads((SOURCE / "clean" / "train_results.json").read_text())["environment"]
    cell.mkdir(parents=True, exist_ok=True)
    budget, seed = (int(part.name.split("-")[1]) for part in (cell.parent, cell))
    content = {
        "schema_version": 1,
        "budget": budget,
        "seed": seed,
        "failures": [{"stage": stage, "error_type": "RuntimeError", "message": message, "traceback": []}],
        "failed_at": "2026-01-02T03:04:05+00:00",
        "environment": environment,
    }
    (cell / "failure.json").write_text(json.dumps(content))
