"""Repairing and examining a model that lies in a file: everything is checked first, and written last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unlearning import detection, methods
from unlearning.data import ImageData, reads_images
from unlearning.data.settings import DataChoice, DataSettings, ImageReading
from unlearning.drawing.boards import check_tensorboard, write_repair
from unlearning.errors import InputError
from unlearning.files import check_outputs
from unlearning.interop import check_model_path
from unlearning.links import real_path
from unlearning.loss import OriginalLoss
from unlearning.records import DetectionResults, RepairResults, write_json
from unlearning.repairs.core import repair
from unlearning.repairs.deploying import check_deployment, deploy
from unlearning.repairs.environment import describe_environment
from unlearning.repairs.find import detect, draw_scores
from unlearning.repairs.flagged import read_flagged, write_suspects
from unlearning.repairs.outcome import outcome_fields, write_row_lists
from unlearning.repairs.settings import DetectSettings
from unlearning.repairs.taking import check_scale, input_images
from unlearning.startup import import_tensorflow
from unlearning.task import REMOVED, Corrections, Split


def repair_file(
    *,
    model: Path,
    dataset: str,
    flagged: Path | None,
    method: str,
    out: Path,
    detect_by: DetectSettings | None = None,
    trainable_from: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    data_dir: str | None = None,
    data_seed: int = 42,
    image_size: int | None = None,
    reading: ImageReading | None = None,
    seed: int = 0,
    force: bool = False,
    tensorboard: Path | None = None,
    export_litert: Path | None = None,
) -> RepairResults:
    """Repairs a `.keras` model and writes the result beside a JSON record.

    Args:
        model: The trained model.
        dataset: The data it was trained on; see `unlearning.data.load_data`. Its labels are the given labels.
        flagged: CSV of flagged rows; see `read_flagged`. None for methods that need none. With `detect_by` they teach
            the detector.
        method: Registered method.
        out: Where the repaired model goes; the record goes to the same name with `.json`.
        detect_by: Which detector finds the flagged rows; its suspects are written beside the model, as
            `<out>-suspects.csv`, and `flagged` itself can be made of them.
        trainable_from: First layer to update.
        overrides: Hyperparameters to change; `loss.FIELD` states how the model was trained (`unlearning.loss`).
        data_dir: Folder of prepared tensorflow-datasets sets.
        data_seed: Seed of the splits.
        image_size: Side in pixels of the images of a folder; by default the model's height and width.
        reading: How their images are read; by default as Keras does, with the model's number of channels.
        seed: Seed of what the method draws.
        force: Replace existing output.
        tensorboard: Folder of event files, or None; those of this repair go to a folder named like `out`.
        export_litert: A LiteRT file to be made of the repaired model, or None; see `unlearning.repairs.deploying`.

    Returns:
        The record, as written.

    Raises:
        InputError: If anything does not fit; nothing is written then.
    """
    record_path, rows_path = out.with_suffix(".json"), out.with_name(f"{out.stem}-rows.npz")
    suspects_path = out.with_name(f"{out.stem}-suspects.csv")
    if out.suffix != ".keras":
        raise InputError("out", "a path ending in .keras", str(out))
    if real_path(out) == real_path(model):
        raise InputError("out", "another file than the model itself", str(out))
    check_outputs((out, record_path), force)
    overrides = dict(overrides or {})
    if trainable_from is not None:
        overrides["trainable_from"] = trainable_from
    stated = {key.removeprefix("loss."): overrides.pop(key) for key in [*overrides] if key.startswith("loss.")}
    loss = OriginalLoss.parse("loss", stated)
    chosen = methods.get(method, overrides)
    if detect_by is not None:
        chosen = detect_by.apply(chosen)
        check_outputs((suspects_path,), force)
    if flagged is None and chosen.needs_flagged:
        raise InputError(
            f"The method {method} needs flagged rows: give a CSV file with --flagged, let a detector find them with "
            "--detect, or use a method that needs none, such as sap."
        )
    if tensorboard is not None:
        check_tensorboard(tensorboard)
    if export_litert is not None:
        check_deployment(export_litert, force)
    check_model_path(model)
    if flagged is not None and not flagged.is_file():
        raise InputError("flagged", "an existing CSV file", str(flagged))

    from unlearning.interop import save_model, set_determinism

    chosen_data = DataChoice(dataset=dataset, data_dir=data_dir, data_seed=data_seed, image_size=image_size)
    data, trained = _open(model, chosen_data, reading)
    corrections = None
    if flagged is not None:
        corrections = read_flagged(flagged, len(data.train), data.num_classes, data.train.labels, data.train_files)
    trained = trained or _load(model, dataset)
    from unlearning.evaluation import accuracy

    found = None
    if detect_by is not None:
        name, detector = detect_by.detector, detect_by.build()
        found = detect(trained, data, detector=detector, name=name, flagged=corrections, seed=seed)
    set_determinism(seed)
    done = repair(
        trained, data, flagged=corrections, method=chosen, detect=detect_by, found=found, loss=loss, seed=seed
    )
    kept = done.corrections.labels != REMOVED
    before, after = (_corrected_accuracy(m, data.train, done.corrections, kept) for m in (trained, done.model))
    deployed = None if export_litert is None else deploy(done.model, trained, data.validation, export_litert)
    results = RepairResults(
        method=method,
        hyperparameters=chosen.config(),
        loss=loss.config() if stated else {},
        flagged_rows=len(done.corrections),
        unchanged_rows=done.unchanged,
        removed_rows=int((~kept).sum()),
        test_accuracy_before=accuracy(trained, data.test),
        test_accuracy_after=accuracy(done.model, data.test),
        corrected_accuracy_before=before,
        corrected_accuracy_after=after,
        **outcome_fields(done.outcome),
        **write_row_lists(rows_path, done.outcome),
        detection=None if found is None else found.record,
        deployed=deployed,
        environment=describe_environment(),
    )
    save_model(done.model, out)
    if tensorboard is not None:
        write_repair(tensorboard / out.stem, done.outcome.history, done.outcome.solver_log)
    if found is not None and found.detection is not None:
        write_suspects(suspects_path, data.train, found.detection, files=data.train_files)
    write_json(record_path, results)
    return results


def _corrected_accuracy(model: Any, train: Split, corrections: Corrections, kept: np.ndarray) -> float | None:
    from unlearning.evaluation import predict

    if not kept.any():
        return None
    predictions = predict(model, train.subset(corrections.rows[kept]).images).argmax(-1)
    return float(np.mean(predictions == corrections.labels[kept]))


def check_suspects_path(out: Path, force: bool) -> tuple[Path, Path]:
    """Returns where the record and the picture beside a file of suspects go.

    Raises:
        InputError: If `out` is no `.csv`, or any of the three exists and is not to be replaced.
    """
    if out.suffix != ".csv":
        raise InputError("out", "a path ending in .csv", str(out))
    record_path, figure_path = out.with_suffix(".json"), out.with_suffix(".png")
    check_outputs((out, record_path, figure_path), force)
    return record_path, figure_path


def detect_file(
    *,
    model: Path,
    dataset: str | None,
    detector: str,
    out: Path,
    flagged: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    all_rows: bool = False,
    data_dir: str | None = None,
    data_seed: int = 42,
    image_size: int | None = None,
    reading: ImageReading | None = None,
    seed: int = 0,
    force: bool = False,
) -> DetectionResults:
    """Runs a detector on a `.keras` model and writes its suspects, with a JSON record and a PNG of the same name.

    Args:
        model: The trained model.
        dataset: What it was trained on, labels as found; see `unlearning.data.load_data`.
        detector: Registered detector.
        out: The CSV file; see `write_suspects`.
        flagged: CSV of rows that are known already, which teach the detector; see `read_flagged`.
        overrides: Options of the detector to change.
        all_rows: Write rows that are not suspect, too.
        data_dir: Folder of prepared tensorflow-datasets sets.
        data_seed: Seed of the splits.
        image_size: Side in pixels of the images of a folder; by default the model's height and width.
        reading: How their images are read; by default as Keras does, with the model's number of channels.
        seed: Seed of what the detector draws.
        force: Replace existing output.

    Returns:
        The record, as written.

    Raises:
        InputError: If anything does not fit; nothing is written then.
    """
    check_suspects_path(out, force)
    chosen = detection.get(detector, overrides)
    if not model.exists():
        raise InputError("target", "an existing .keras file or folder", str(model))
    if model.suffix != ".keras":
        raise InputError("target", "a .keras file, or a folder .../budget-<B>/seed-<S>", str(model))
    if dataset is None:
        raise InputError(f"Say with --data which data {model} was trained on.")

    chosen_data = DataChoice(dataset=dataset, data_dir=data_dir, data_seed=data_seed, image_size=image_size)
    data, trained = _open(model, chosen_data, reading)
    trained = trained or _load(model, dataset)
    return examine(
        trained,
        data.train,
        data.num_classes,
        chosen,
        detector,
        out,
        all_rows=all_rows,
        seed=seed,
        bad_rows=None,
        files=data.train_files,
        flagged=flagged,
        class_names=data.class_names,
    )


def _open(path: Path, choice: DataChoice, reading: ImageReading | None) -> tuple[ImageData, Any]:
    """Returns data, and the model where it had to be loaded before them, to see what images it takes; else None."""
    from unlearning.data import load

    values = {**dict(choice), **dict(reading or ImageReading())}
    model = None
    if reads_images(choice.dataset) and None in (values["color_mode"], values["image_size"]):
        model = _load(path, choice.dataset)
        mode, size = input_images(model)
        values |= {"color_mode": values["color_mode"] or mode, "image_size": values["image_size"] or size}
    return load(DataSettings(**values)), model


def _load(path: Path, dataset: str) -> Any:
    """Returns a model, once TensorFlow is there; for a folder of images, it is looked at whether it scales them."""
    import_tensorflow()
    from unlearning.interop import load_model

    model = load_model(path, compiled=True)
    if reads_images(dataset):
        check_scale(model)
    return model


def examine(
    model: Any,
    train: Split,
    num_classes: int,
    detector: Any,
    name: str,
    out: Path,
    *,
    all_rows: bool,
    seed: int,
    bad_rows: np.ndarray | None,
    files: np.ndarray | None,
    flagged: Path | None = None,
    class_names: Sequence[str] | None = None,
) -> DetectionResults:
    """Detects, and writes suspects, picture and record; see `detect` and `detect_file` for the arguments."""
    known = None if flagged is None else read_flagged(flagged, len(train), num_classes, train.labels, files)
    found = detect(
        model,
        train,
        detector=detector,
        name=name,
        num_classes=num_classes,
        flagged=known,
        seed=seed,
        bad_rows=bad_rows,
        class_names=class_names,
    )
    assert found.detection is not None
    write_suspects(out, train, found.detection, all_rows=all_rows, files=files)
    draw_scores(out.with_suffix(".png"), found.detection, name, bad_rows)
    write_json(out.with_suffix(".json"), found.record)
    return found.record
