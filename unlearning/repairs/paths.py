"""Repairing and examining a model that lies in a file: everything is checked first, and written last."""

from __future__ import annotations

import dataclasses
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
from unlearning.loss import take_loss
from unlearning.profiling import profiled, spending
from unlearning.progress import stage
from unlearning.records import DetectionResults, RepairResults, write_json
from unlearning.repairs.core import repair
from unlearning.repairs.deploying import check_deployment, deploy
from unlearning.repairs.environment import describe_environment
from unlearning.repairs.find import detect, draw_scores
from unlearning.repairs.flagged import read_flagged, write_suspects
from unlearning.repairs.found import describe_rows
from unlearning.repairs.outcome import outcome_fields, score_classes, write_row_lists
from unlearning.repairs.reviewing import review_paths, take_answers, write_review
from unlearning.repairs.settings import DetectSettings, default_detection, take_time
from unlearning.repairs.taking import check_scale, input_images
from unlearning.review.settings import ReviewSettings
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
    time_budget: str | None = None,
    profile: bool = False,
    overrides: Mapping[str, Any] | None = None,
    data_dir: str | None = None,
    data_seed: int = 42,
    image_size: int | None = None,
    reading: ImageReading | None = None,
    seed: int = 0,
    force: bool = False,
    tensorboard: Path | None = None,
    shown: ReviewSettings | None = None,
    command: Sequence[str] | None = None,
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
            `<out>-suspects.csv` and, for a person, `.html`, and `flagged` itself can be made of them.
        trainable_from: First layer to update.
        time_budget: See `unlearning.repair`.
        profile: Record what the processor time was spent on.
        overrides: Hyperparameters to change; `loss.FIELD` states how the model was trained (`unlearning.loss`).
        data_dir: Folder of prepared tensorflow-datasets sets.
        data_seed: Seed of the splits.
        image_size: Side in pixels of the images of a folder; by default the model's height and width.
        reading: How their images are read; by default as Keras does, with the model's number of channels.
        seed: Seed of what the method draws.
        force: Replace existing output.
        tensorboard: Folder of event files, or None; those of this repair go to a folder named like `out`.
        shown: How its suspects are shown to a person.
        command: Words of the command that asks for it, for the record.
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
    loss, overrides = take_loss(overrides or {})
    if trainable_from is not None:
        overrides["trainable_from"] = trainable_from
    if time_budget is not None:
        overrides |= take_time(time_budget)
    chosen = methods.get(method, overrides)
    finds = detect_by is None and flagged is None and chosen.finds_rows
    if detect_by is not None or finds:
        shown = shown or ReviewSettings()
        check_outputs((suspects_path, *review_paths(suspects_path, shown)), force)
    if flagged is None and detect_by is None and chosen.needs_flagged and not finds:
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

    stage("data and model")
    chosen_data = DataChoice(dataset=dataset, data_dir=data_dir, data_seed=data_seed, image_size=image_size)
    data, trained = _open(model, chosen_data, reading)
    corrections = None
    if flagged is not None:
        corrections = read_flagged(
            flagged, len(data.train), data.num_classes, data.train.labels, data.train_files, data.class_names
        )
    trained = trained or _load(model, dataset)
    if finds:
        detect_by = default_detection(data.train.images)
    found = None
    with profiled() as shares:
        if detect_by is not None and shown is not None:
            stage(f"detection by {detect_by.detector}")
            chosen = detect_by.apply(chosen)
            rows = describe_rows(data.train, data.num_classes, data.class_names, data.train_files, shown.texts)
            name, detector = detect_by.detector, detect_by.build()
            with spending("detection"):
                found = detect(trained, data, detector=detector, name=name, flagged=corrections, seed=seed)
            found = dataclasses.replace(found, source=rows)
        stage(f"repair by {method}")
        set_determinism(seed)
        done = repair(
            trained, data, flagged=corrections, method=chosen, detect=detect_by, found=found, loss=loss, seed=seed
        )
    if profile:
        details = {**done.outcome.details, "processor_seconds": shares}
        done = dataclasses.replace(done, outcome=dataclasses.replace(done.outcome, details=details))
    stage("scores")
    kept = done.corrections.labels != REMOVED
    before, after = (_corrected_accuracy(m, data.train, done.corrections, kept) for m in (trained, done.model))
    deployed = None if export_litert is None else deploy(done.model, trained, data.validation, export_litert)
    results = RepairResults(
        method=method,
        hyperparameters=chosen.config(),
        loss={} if loss.is_plain else loss.config(),
        flagged_rows=len(done.corrections),
        unchanged_rows=done.unchanged,
        removed_rows=int((~kept).sum()),
        **score_classes(trained, done.model, data),
        corrected_accuracy_before=before,
        corrected_accuracy_after=after,
        **outcome_fields(done.outcome),
        unlearning_cpu_s=done.cpu_s,
        **write_row_lists(rows_path, done.outcome),
        detection=None if found is None else found.record,
        command=None if command is None else list(command),
        deployed=deployed,
        environment=describe_environment(),
    )
    save_model(done.model, out)
    if tensorboard is not None:
        write_repair(tensorboard / out.stem, done.outcome.history, done.outcome.solver_log)
    if found is not None and found.detection is not None and shown is not None:
        write_suspects(suspects_path, data.train, found.detection, files=data.train_files)
        write_review(found, suspects_path, shown)
    write_json(record_path, results)
    return results


def _corrected_accuracy(model: Any, train: Split, corrections: Corrections, kept: np.ndarray) -> float | None:
    from unlearning.evaluation import predict

    if not kept.any():
        return None
    predictions = predict(model, train.subset(corrections.rows[kept]).images).argmax(-1)
    return float(np.mean(predictions == corrections.labels[kept]))


def check_suspects_path(out: Path, force: bool, asked: ReviewSettings | None = None) -> list[Path]:
    """Returns the file of suspects with all that is written beside it: record, picture, and what a person looks at.

    Raises:
        InputError: If `out` is no `.csv`, or any of them exists and is not to be replaced.
    """
    if out.suffix != ".csv":
        raise InputError("out", "a path ending in .csv", str(out))
    paths = [out, out.with_suffix(".json"), out.with_suffix(".png"), *review_paths(out, asked or ReviewSettings())]
    check_outputs(paths, force)
    return paths


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
    asked: ReviewSettings | None = None,
    command: Sequence[str] | None = None,
) -> DetectionResults:
    """Runs a detector on a `.keras` model and writes its suspects, with record, picture and page of the same name.

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
        asked: How suspects are shown to a person, and what is asked. With answers nothing is detected: they are
            applied to what was found when the questions were written.
        command: Words of the command that asks for it, for the record.

    Returns:
        The record, as written.

    Raises:
        InputError: If anything does not fit; nothing is written then.
    """
    asked = asked or ReviewSettings()
    if asked.answers is None:
        check_suspects_path(out, force, asked)
    chosen = detection.get(detector, overrides)
    if not model.exists():
        raise InputError("target", "an existing .keras file or folder", str(model))
    if model.suffix != ".keras":
        raise InputError("target", "a .keras file, or a folder .../budget-<B>/seed-<S>", str(model))
    if dataset is None:
        raise InputError(f"Say with --data which data {model} was trained on.")

    stage("data and model")
    chosen_data = DataChoice(dataset=dataset, data_dir=data_dir, data_seed=data_seed, image_size=image_size)
    data, trained = _open(model, chosen_data, reading)
    if asked.answers is not None:
        rows = describe_rows(data.train, data.num_classes, data.class_names, data.train_files, asked.texts)
        return take_answers(out, rows, data.train_files, asked, force=force)
    trained = trained or _load(model, dataset)
    stage(f"detection by {detector}")
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
        asked=asked,
        command=command,
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
    asked: ReviewSettings | None = None,
    command: Sequence[str] | None = None,
) -> DetectionResults:
    """Detects, and writes suspects, picture, page and record; see `detect` and `detect_file` for the arguments."""
    asked = asked or ReviewSettings()
    rows = describe_rows(train, num_classes, class_names, files, asked.texts)
    known = None
    if flagged is not None:
        known = read_flagged(flagged, len(train), num_classes, train.labels, files, class_names)
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
    found = dataclasses.replace(found, source=rows)
    assert found.detection is not None
    write_suspects(out, train, found.detection, all_rows=all_rows, files=files)
    draw_scores(out.with_suffix(".png"), found.detection, name, bad_rows)
    write_review(found, out, asked)
    record = found.record.model_copy(update={"command": None if command is None else list(command)})
    write_json(out.with_suffix(".json"), record)
    return record
