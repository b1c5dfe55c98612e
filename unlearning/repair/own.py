"""Repairing a user's own model: read the flagged rows, run a method, write the model and its record."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from unlearning import methods
from unlearning.drawing.boards import check_tensorboard, write_repair
from unlearning.errors import InputError, invalid
from unlearning.evaluation import accuracy, predict
from unlearning.experiments.cell.run import (
    DetectChoice,
    check_outputs,
    describe_environment,
    outcome_fields,
    with_detection,
)
from unlearning.interop import load_model, save_model, set_determinism
from unlearning.methods.detected import Detected, suspected_corrections
from unlearning.records import RepairResults, write_json
from unlearning.repair.detect import examine, write_suspects
from unlearning.task import REMOVED, Corrections, Split, UnlearningTask

_LONGEST_CSV = 64 * 2**20


def read_flagged(path: Path, rows: int, num_classes: int, given_labels: np.ndarray | None = None) -> Corrections:
    """Reads a CSV of flagged rows.

    Args:
        path: A file with the columns `row` and `corrected_label`; an empty label removes the row. A column
            `given_label` is checked, others are ignored.
        rows: Number of training rows.
        num_classes: Number of classes.
        given_labels: The labels of the training rows, for that check; None leaves it out.

    Returns:
        The corrections.

    Raises:
        InputError: If the file is missing or malformed; the message names the line.
    """
    if not path.is_file():
        raise invalid("flagged", "an existing CSV file", str(path))
    if path.stat().st_size > _LONGEST_CSV:
        raise invalid("flagged", f"at most {_LONGEST_CSV} bytes", path.stat().st_size)
    numbers: dict[int, int] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            columns = list(reader.fieldnames or ())
            missing = {"row", "corrected_label"} - set(columns)
            if missing:
                raise InputError(f"{path} lacks the column {' and '.join(sorted(missing))} in its first line.")
            for name in ("row", "corrected_label"):
                if columns.count(name) > 1:
                    raise InputError(f"{path} has the column {name} twice in its first line.")
            for record in reader:
                where = f"{path}, line {reader.line_num}"
                if None in record or any(record[name] is None for name in ("row", "corrected_label")):
                    raise InputError(f"{where}: expected as many values as columns.")
                row = _integer(record["row"], f"{where}: row (they count within the training split)", 0, rows)
                told = record.get("given_label")
                if given_labels is not None and told and told.strip() != str(given_labels[row]):
                    raise InputError(
                        f"{where}: training row {row} has the label {given_labels[row]}, not the given_label "
                        f"{told.strip()[:50]!r}: the file is about other data, or another --data-seed."
                    )
                label = record["corrected_label"].strip()
                if row in numbers:
                    raise InputError(f"{where}: row {row} is flagged twice.")
                numbers[row] = _integer(label, f"{where}: corrected_label", 0, num_classes) if label else REMOVED
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"Cannot read {path} as CSV: {error}") from error
    if not numbers:
        raise InputError(f"{path} flags no row.")
    return Corrections(np.array(list(numbers)), np.array(list(numbers.values())))


def _integer(text: str, where: str, low: int, high: int) -> int:
    text = text.strip()
    # Only plain digits: int() would also take "1_0" and digits of other scripts.
    if not (text.isascii() and text.isdigit() and len(text) < 19 and low <= int(text) < high):
        raise InputError(f"{where}: expected an integer in {low}..{high - 1}, received {text[:50]!r}.")
    return int(text)


def repair_model(
    *,
    model: Path,
    dataset: str,
    flagged: Path | None,
    method: str,
    out: Path,
    detect: DetectChoice | None = None,
    trainable_from: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    data_dir: str | None = None,
    data_seed: int = 42,
    image_size: int | None = None,
    seed: int = 0,
    force: bool = False,
    tensorboard: Path | None = None,
) -> RepairResults:
    """Repairs a `.keras` model and writes the result beside a JSON record.

    Args:
        model: The trained model.
        dataset: The data it was trained on; see `unlearning.data.load_data`. Its labels are the given labels.
        flagged: CSV of flagged rows; see `read_flagged`. None for methods that need none, and with `detect`.
        method: Registered method.
        out: Where the repaired model goes; the record goes to the same name with `.json`.
        detect: Which detector finds the flagged rows; its suspects are written beside the model, as
            `<out>-suspects.csv`, and `flagged` itself can be made of them.
        trainable_from: First layer to update.
        overrides: Hyperparameters to change.
        data_dir: Folder of prepared tensorflow-datasets sets.
        data_seed: Seed of the splits.
        image_size: For image folders.
        seed: Seed of what the method draws.
        force: Replace existing output.
        tensorboard: Folder of event files, or None; those of this repair go to a folder named like `out`.

    Returns:
        The record, as written.

    Raises:
        InputError: If anything does not fit; nothing is written then.
    """
    record_path = out.with_suffix(".json")
    if out.suffix != ".keras":
        raise invalid("out", "a path ending in .keras", str(out))
    if out.resolve() == model.resolve():
        raise invalid("out", "another file than the model itself", str(out))
    check_outputs((out, record_path), force)
    overrides = dict(overrides or {})
    if trainable_from is not None:
        overrides["trainable_from"] = trainable_from
    chosen = methods.get(method, overrides)
    if detect is not None:
        if flagged is not None:
            raise InputError("Give flagged rows or a detector that finds them, not both.")
        chosen = detect.apply(chosen)
    if flagged is None and chosen.needs_flagged:
        raise InputError(
            f"The method {method} needs flagged rows: give a CSV file with --flagged, let a detector find them with "
            "--detect, or use a method that needs none, such as sap."
        )
    suspects_path = out.with_name(f"{out.stem}-suspects.csv")
    if detect is not None:
        check_outputs((suspects_path,), force)
    if tensorboard is not None:
        check_tensorboard(tensorboard)
    trained = load_model(model)

    from unlearning.data import load_data

    data = load_data(dataset, data_dir=data_dir, data_seed=data_seed, image_size=image_size)
    corrections = Corrections.none()
    if flagged is not None:
        corrections = read_flagged(flagged, len(data.train), data.num_classes, data.train.labels)
    found, detected, suspects = None, None, None
    if isinstance(chosen, Detected):
        found, detected = examine(
            chosen.build_detector(), chosen.detector, trained, data.train, data.num_classes, seed=seed, bad_rows=None
        )
        suspects = Corrections(found.suspects, found.suggested_labels[found.suspects])
        corrections = suspected_corrections(suspects, data.train.labels, chosen.suspects)
    set_determinism(seed)
    task = UnlearningTask(data.train, corrections, data.validation, data.num_classes, seed=seed, suspects=suspects)
    outcome = chosen.unlearn(trained, task)
    if detected is not None:
        outcome = with_detection(outcome, detected)
    kept = corrections.labels != REMOVED
    before, after = (_corrected_accuracy(m, data.train, corrections, kept) for m in (trained, outcome.model))
    results = RepairResults(
        method=method,
        hyperparameters=chosen.config(),
        flagged_rows=len(corrections),
        removed_rows=int((~kept).sum()),
        test_accuracy_before=accuracy(trained, data.test),
        test_accuracy_after=accuracy(outcome.model, data.test),
        corrected_accuracy_before=before,
        corrected_accuracy_after=after,
        **outcome_fields(outcome),
        detection=detected,
        environment=describe_environment(),
    )
    save_model(outcome.model, out)
    if tensorboard is not None:
        write_repair(tensorboard / out.stem, outcome.history, outcome.solver_log)
    if found is not None:
        write_suspects(suspects_path, data.train, found)
    write_json(record_path, results)
    return results


def _corrected_accuracy(model: Any, train: Split, corrections: Corrections, kept: np.ndarray) -> float | None:
    if not kept.any():
        return None
    predictions = predict(model, train.subset(corrections.rows[kept]).images).argmax(-1)
    return float(np.mean(predictions == corrections.labels[kept]))
