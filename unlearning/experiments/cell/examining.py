"""Detecting for a person's eyes: in a model of their own, or in a finished cell, where the bad rows are known."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unlearning import detection
from unlearning.experiments.cell.reopening import open_poisoned, reopen
from unlearning.records import DetectionResults
from unlearning.repairs.paths import check_suspects_path, detect_file, examine


def detect_rows(
    *,
    target: Path,
    detector: str,
    out: Path,
    dataset: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    all_rows: bool = False,
    data_dir: str | None = None,
    data_seed: int = 42,
    image_size: int | None = None,
    labels_file: str | None = None,
    seed: int = 0,
    force: bool = False,
) -> DetectionResults:
    """Runs a detector and writes its suspects, with a JSON record and a PNG of the same name beside them.

    Args:
        target: A `.keras` model, or the folder of a finished cell (`.../budget-<B>/seed-<S>`), where the bad rows are
            known and the detection is scored.
        detector: Registered detector.
        out: The CSV file; see `unlearning.repairs.flagged.write_suspects`.
        dataset: What the model was trained on, labels as found; see `unlearning.data.load_data`. For a cell only where
            its data are a file or folder.
        overrides: Options of the detector to change.
        all_rows: Write rows that are not suspect, too.
        data_dir: Folder of prepared tensorflow-datasets sets.
        data_seed: Seed of the splits; a cell knows its own.
        image_size: For image folders; a cell knows its own.
        labels_file: For cells with human noise.
        seed: Seed of what the detector draws.
        force: Replace existing output.

    Returns:
        The record, as written.

    Raises:
        InputError: If anything does not fit; nothing is written then.
    """
    shared: dict[str, Any] = {"all_rows": all_rows, "seed": seed}
    if not target.is_dir():
        return detect_file(
            model=target,
            dataset=dataset,
            detector=detector,
            out=out,
            overrides=overrides,
            data_dir=data_dir,
            data_seed=data_seed,
            image_size=image_size,
            force=force,
            **shared,
        )
    check_suspects_path(out, force)
    chosen = detection.get(detector, overrides)
    cell = reopen(target, dataset=dataset, data_dir=data_dir, labels_file=labels_file)
    model, train, corruption = open_poisoned(cell)
    num_classes = cell.setup.data.num_classes
    return examine(model, train, num_classes, chosen, detector, out, bad_rows=corruption.rows, **shared)
