"""Finding the wrong labels of a trained model's data: run a detector, write its suspects, a record and a figure."""

from __future__ import annotations

import csv
import io
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from unlearning import detection
from unlearning.detection.base import Detection, Detector
from unlearning.detection.metrics import score_detection
from unlearning.drawing.figures import draw_mixture
from unlearning.errors import InputError, invalid
from unlearning.experiments.cell.run import check_outputs, describe_environment, reopen
from unlearning.interop import load_model, set_determinism
from unlearning.methods.detected import suspected_corrections
from unlearning.records import DetectionMetrics, DetectionResults, finite, write_json, write_text
from unlearning.task import REMOVED, Corrections, Split

logger = logging.getLogger(__name__)

_COLUMNS = ("row", "given_label", "suggested_label", "score", "suspect", "corrected_label")


def write_suspects(path: Path, split: Split, found: Detection, *, all_rows: bool = False) -> None:
    """Writes a detection as CSV, most suspicious row first, in the form that `repair --flagged` reads.

    The corrected label is the suggested one for suspects and the given one for all other rows. A suspect whose
    suggested label is the given one has none, which takes the row out, as `repair --detect` does. The column is there
    to be edited.

    Args:
        path: The file; either the old one or the whole new one.
        split: The rows with their given labels.
        found: What a detector returned.
        all_rows: Write rows that are not suspect, too.
    """
    suspected = Corrections(found.suspects, found.suggested_labels[found.suspects])
    told = suspected_corrections(suspected, split.labels, "relabel")
    corrected = dict(zip(told.rows.tolist(), told.labels.tolist(), strict=True))
    order = np.argsort(-found.scores, kind="stable")
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for row in order.tolist():
        if all_rows or row in corrected:
            given, label = int(split.labels[row]), corrected.get(row, split.labels[row])
            score = f"{found.scores[row]:.9g}"
            kept = "" if label == REMOVED else int(label)
            writer.writerow([row, given, int(found.suggested_labels[row]), score, int(row in corrected), kept])
    write_text(path, buffer.getvalue())


def detect_rows(
    *,
    target: Path,
    dataset: str | None,
    detector: str,
    out: Path,
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
        dataset: What the model was trained on, labels as found; see `unlearning.data.load_data`. For a cell only where
            its data are a file or folder.
        detector: Registered detector.
        out: The CSV file; see `write_suspects`.
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
    if out.suffix != ".csv":
        raise invalid("out", "a path ending in .csv", str(out))
    record_path, figure_path = out.with_suffix(".json"), out.with_suffix(".png")
    check_outputs((out, record_path, figure_path), force)
    chosen = detection.get(detector, overrides)
    bad_rows = None
    if target.is_dir():
        experiment, budget, cell_seed = reopen(
            target, None, {}, dataset=dataset, data_dir=data_dir, labels_file=labels_file
        )
        model, train, corruption = experiment.open_poisoned(budget, cell_seed)
        num_classes, bad_rows = experiment.data.num_classes, corruption.rows
    elif target.suffix == ".keras":
        if dataset is None:
            raise InputError(f"Say with --data which data {target} was trained on.")
        model = load_model(target)

        from unlearning.data import load_data

        data = load_data(dataset, data_dir=data_dir, data_seed=data_seed, image_size=image_size)
        train, num_classes = data.train, data.num_classes
    elif not target.exists():
        raise invalid("target", "an existing .keras file or folder", str(target))
    else:
        raise invalid("target", "a .keras file, or a folder .../budget-<B>/seed-<S>", str(target))
    found, results = examine(chosen, detector, model, train, num_classes, seed=seed, bad_rows=bad_rows)
    write_suspects(out, train, found, all_rows=all_rows)
    draw_scores(figure_path, found, detector, bad_rows)
    write_json(record_path, results)
    return results


def examine(
    chosen: Detector,
    name: str,
    model: Any,
    train: Split,
    num_classes: int,
    *,
    seed: int,
    bad_rows: np.ndarray | None,
    config_hash: str | None = None,
) -> tuple[Detection, DetectionResults]:
    """Runs a detector and measures it; nothing is written.

    Args:
        chosen: The detector.
        name: Its registered name.
        model: The trained classifier.
        train: Its training rows with their given labels.
        num_classes: Number of classes.
        seed: Seed of what the detector draws.
        bad_rows: Rows known to be bad, for scoring only, or None.
        config_hash: For the record.

    Returns:
        The detection and its record.
    """
    set_determinism(seed)
    started, cpu = time.perf_counter(), time.process_time()
    found = chosen.detect(model, train, num_classes, seed)
    duration, cpu = time.perf_counter() - started, time.process_time() - cpu
    changed = int(np.count_nonzero((found.suggested_labels != train.labels)[found.suspects]))
    if 2 * changed < len(found.suspects):
        logger.warning(
            "For %d of %d suspects the suggested label is the given one: what judges them has learned it. "
            "Correct these labels by hand, or try cross-validation or neighbours.",
            len(found.suspects) - changed,
            len(found.suspects),
        )
    results = DetectionResults(
        detector=name,
        options=chosen.config(),
        rows=len(train),
        num_classes=num_classes,
        suspects=len(found.suspects),
        suspect_share=len(found.suspects) / len(train),
        suggestions_changed=changed,
        threshold=found.threshold,
        status=str(found.status),
        details=finite(dict(found.details)),
        metrics=None if bad_rows is None else DetectionMetrics.model_validate(score_detection(found, bad_rows)),
        bad_rows=None if bad_rows is None else len(bad_rows),
        seed=seed,
        detection_duration_s=duration,
        detection_cpu_s=cpu,
        config_hash=config_hash,
        environment=describe_environment(),
    )
    return found, results


def draw_scores(path: Path, found: Detection, name: str, bad_rows: np.ndarray | None) -> None:
    """Draws the histogram of a detection's scores; see `draw_mixture`."""
    draw_mixture(
        path,
        found.scores,
        mixture=found.details.get("mixture"),
        threshold=found.threshold,
        bad_rows=bad_rows,
        label=f"score ({name})",
    )
