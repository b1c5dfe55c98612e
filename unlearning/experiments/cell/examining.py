"""Detecting in a finished cell for a person's eyes: suspects, picture and record beside a file of their choice."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unlearning import detection
from unlearning.experiments.cell.reopening import open_poisoned, reopen
from unlearning.records import DetectionResults
from unlearning.repairs.paths import check_suspects_path, examine


def detect_cell(
    *,
    run_dir: Path,
    detector: str,
    out: Path,
    overrides: Mapping[str, Any] | None = None,
    all_rows: bool = False,
    dataset: str | None = None,
    data_dir: str | None = None,
    labels_file: str | None = None,
    seed: int = 0,
    force: bool = False,
) -> DetectionResults:
    """Runs a detector on a cell's poisoned model, where the bad rows are known and the detection is scored.

    Args:
        run_dir: The cell's folder, `.../budget-<B>/seed-<S>`.
        detector: Registered detector.
        out: The CSV file; see `unlearning.repairs.flagged.write_suspects`.
        overrides: Options of the detector to change.
        all_rows: Write rows that are not suspect, too.
        dataset: Path of the data, where it is a file or folder.
        data_dir: Folder of prepared tensorflow-datasets sets.
        labels_file: For cells with human noise.
        seed: Seed of what the detector draws.
        force: Replace existing output.

    Returns:
        The record, as written.

    Raises:
        InputError: If anything does not fit; nothing is written then.
    """
    check_suspects_path(out, force)
    chosen = detection.get(detector, overrides)
    cell = reopen(run_dir, dataset=dataset, data_dir=data_dir, labels_file=labels_file)
    model, train, corruption = open_poisoned(cell)
    return examine(
        model,
        train,
        cell.setup.data.num_classes,
        chosen,
        detector,
        out,
        all_rows=all_rows,
        seed=seed,
        bad_rows=corruption.rows,
    )
