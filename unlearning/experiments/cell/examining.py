"""Detecting for a person's eyes: in a model of their own, or in a finished cell, where the bad rows are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unlearning import detection
from unlearning.data.settings import ImageReading
from unlearning.errors import InputError
from unlearning.experiments.cell.detecting import detected_files, ensure_detected, find_detected
from unlearning.experiments.cell.reopening import open_poisoned, reopen
from unlearning.progress import stage
from unlearning.records import DetectionResults
from unlearning.repairs.found import describe_rows
from unlearning.repairs.paths import check_suspects_path, detect_file, examine
from unlearning.repairs.reviewing import take_answers
from unlearning.repairs.settings import DetectSettings
from unlearning.review.settings import ReviewSettings


def detect_rows(
    *,
    target: Path,
    detector: str,
    out: Path | None,
    dataset: str | None = None,
    flagged: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    all_rows: bool = False,
    data_dir: str | None = None,
    data_seed: int = 42,
    image_size: int | None = None,
    reading: ImageReading | None = None,
    labels_file: str | None = None,
    seed: int | None = None,
    force: bool = False,
    asked: ReviewSettings | None = None,
    command: Sequence[str] | None = None,
) -> DetectionResults:
    """Runs a detector and writes its suspects, with record, picture and page of the same name beside them.

    Args:
        target: A `.keras` model, or the folder of a finished cell (`.../budget-<B>/seed-<S>`), where the bad rows are
            known and the detection is scored.
        detector: Registered detector.
        out: The CSV file; see `unlearning.repairs.flagged.write_suspects`.
        dataset: What the model was trained on, labels as found; see `unlearning.data.load_data`. For a cell only where
            its data are a file or folder.
        flagged: CSV of rows that are known already, which teach the detector.
        overrides: Options of the detector to change.
        all_rows: Write rows that are not suspect, too.
        data_dir: Folder of prepared tensorflow-datasets sets.
        data_seed: Seed of the splits; a cell knows its own.
        image_size: For image folders; a cell knows its own.
        reading: How their images are read; a cell knows its own.
        labels_file: For cells with human noise.
        seed: Seed of what the detector draws; None is 0.
        force: Replace existing output.
        asked: How suspects are shown to a person, and what is asked.
        command: Words of the command that asks for it, for the record.

    Returns:
        The record, as written.

    Raises:
        InputError: If anything does not fit; nothing is written then.
    """
    asked = asked or ReviewSettings()
    if out is None:
        raise InputError("Say with --out where the suspects of a MODEL.keras go (.csv).")
    shared: dict[str, Any] = {
        "all_rows": all_rows,
        "seed": seed or 0,
        "flagged": flagged,
        "asked": asked,
        "command": command,
    }
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
            reading=reading,
            force=force,
            **shared,
        )
    if asked.answers is None:
        check_suspects_path(out, force, asked)
    chosen = detection.get(detector, overrides)
    stage("data and model")
    cell = reopen(target, dataset=dataset, data_dir=data_dir, labels_file=labels_file)
    model, train, corruption = open_poisoned(cell)
    data = cell.setup.data
    if asked.answers is not None:
        rows = describe_rows(train, data.num_classes, data.class_names, data.train_files, asked.texts)
        return take_answers(out, rows, data.train_files, asked, force=force)
    stage(f"detection by {detector}")
    shared |= {"bad_rows": corruption.rows, "files": data.train_files, "class_names": data.class_names}
    return examine(model, train, data.num_classes, chosen, detector, out, **shared)


def detect_beside(
    run_dir: Path,
    *,
    detector: str,
    overrides: Mapping[str, Any] | None = None,
    dataset: str | None = None,
    data_dir: str | None = None,
    labels_file: str | None = None,
    force: bool = False,
    **needs_out: Any,
) -> tuple[DetectionResults, list[Path]]:
    """Detects the suspects of a finished cell into its own folder, where `run --detect` finds them again.

    Args:
        run_dir: The cell's folder, `.../budget-<B>/seed-<S>`.
        detector: Registered detector.
        overrides: Options of the detector to change.
        dataset: Path of the data, where they are a file or folder.
        data_dir: Folder of prepared tensorflow-datasets sets.
        labels_file: For cells with human noise.
        force: Detect anew where it has been done.
        **needs_out: Options of `detect_rows` that a cell decides by itself.

    Returns:
        The record, as written, and the files.

    Raises:
        InputError: If anything does not fit; nothing is written then.
    """
    asked = needs_out.get("asked") or ReviewSettings()
    person = (asked.audit, asked.answers, asked.export) != (None, None, None)
    if needs_out.get("all_rows") or needs_out.get("flagged") or needs_out.get("seed") is not None or person:
        raise InputError(
            "--all-rows, --flagged, --seed, --audit, --answers and --export need --out: beside a run stands what its "
            "own repairs would detect."
        )
    choice = DetectSettings(detector=detector, options=dict(overrides or {}))
    choice.build()
    stage("data and model")
    cell = reopen(run_dir, dataset=dataset, data_dir=data_dir, labels_file=labels_file)
    files = detected_files(cell, choice)
    results = None if force else find_detected(cell, choice)
    if results is None:
        model, _, _ = open_poisoned(cell)
        stage(f"detection by {detector}")
        results = ensure_detected(cell, choice, model, anew=force).record
    return results, [path for path in (files.suspects, files.results, files.figure) if path.is_file()]
