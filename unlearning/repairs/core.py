"""One repair, in memory: what is known of bad rows -> (detection) -> a method -> a corrected model and what it cost.

A user's own model and the cells of an experiment are repaired by this same function; a cell knows the true labels
besides, and adds scores that no user could have.

Example:
    >>> from unlearning import repair
    >>> done = repair(model, (x, y), flagged=(wrong, right_labels), validation=(x_val, y_val), method="second-order")
    >>> done.outcome.applied
    True
    >>> str(done.outcome.status)
    'improved'
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from unlearning import methods
from unlearning.errors import InputError
from unlearning.loss import PLAIN, OriginalLoss
from unlearning.methods.base import Method
from unlearning.methods.detected import Detected, suspected_corrections, with_known
from unlearning.repairs.find import detect as detect_rows
from unlearning.repairs.flagged import Flagged, take_flagged
from unlearning.repairs.found import Found
from unlearning.repairs.outcome import describe
from unlearning.repairs.settings import DetectSettings, default_detection, take_detection, take_time, with_eyes
from unlearning.repairs.taking import Data, check_model, count_classes, hold_out, open_data, take_data, take_rows
from unlearning.settings import check_seed
from unlearning.task import Corrections, Measure, Split, UnlearningOutcome, UnlearningTask

if TYPE_CHECKING:
    import keras

    from unlearning.detection.base import Detector


@dataclasses.dataclass(frozen=True, eq=False)
class Repair:
    """A finished repair.

    Attributes:
        model: The repaired model; equal to the given one where nothing was applied.
        outcome: What the method did. Its duration includes the detection, which its details describe.
        corrections: The flagged rows as the method was told of them first, without those that change nothing.
        found: What a detector found; None where the rows were known or are not needed.
        cpu_s: Process CPU seconds of detection and method.
        held_out: Training rows that validated because no validation rows were given, int64 `(rows,)`; None otherwise.
        unchanged: Number of rows that were flagged with the label they have, and so left out.
    """

    model: keras.Model
    outcome: UnlearningOutcome
    corrections: Corrections
    found: Found | None
    cpu_s: float
    held_out: np.ndarray | None = None
    unchanged: int = 0

    def __str__(self) -> str:
        """What came of it, in the few lines that the command line shows, too."""
        lines = [str(self.outcome.status).replace("_", " ")]
        return "\n".join([*lines, *describe(self.outcome, self.cpu_s)])


def repair(
    model: keras.Model,
    data: Data,
    *,
    flagged: Flagged | None = None,
    method: str | Method = "auto",
    time_budget: float | str | None = None,
    options: Mapping[str, Any] | None = None,
    detect: str | Detector | DetectSettings | None = None,
    eyes: str | os.PathLike[str] | None = None,
    found: Found | None = None,
    validation: Split | tuple[Any, Any] | None = None,
    num_classes: int | None = None,
    loss: OriginalLoss | None = None,
    measure: Measure = "accuracy",
    seed: int = 0,
) -> Repair:
    """Corrects a trained classifier; the given model is not changed.

    Without validation rows a part of the training rows is held out of the repair, 15 % of each class and no more than
    5,000, none of them flagged or suspected. That is a stopgap: the model was trained on these rows and has memorised
    their labels, wrong ones included. It looks better on them than it is, and what puts it right may look like a loss,
    so that a good repair may be refused (seldom a bad one taken). Give rows that it was not trained on; a hundred tell
    something, a thousand tell small gains, and labels as wrong as those of the training rows do.

    Args:
        model: A trained Keras classifier.
        data: What it was trained on, with the labels it was trained on: `(images, labels)`, a `Split`, an image set, or
            a source that `load_data` takes, such as `"data.npz"`.
        flagged: The bad rows and what should have stood there, by row number: `{row: label}`, `(rows, labels)`,
            `Corrections`, a table with the columns `row` and `corrected_label`, or the path of such a CSV file. The
            label -1 (in a table an empty one) takes the row out. None where they are to be detected or not needed.
        method: A registered name (see `unlearning.methods.available`), a chain such as `sap+second-order`, or a method.
        time_budget: For `auto`: seconds (a number, detection included), or passes over the training rows, such as
            `"3 passes"`. By default two passes, and what a detection takes.
        options: Hyperparameters of the method named, where they are not its defaults; see `unlearning.methods.get`.
        detect: Let a detector find the bad rows: its registered name (see `unlearning.detection.available`), a
            registered detector with options of its own, or `DetectSettings`. With flagged rows beside it these are
            kept, teach the detector, and what it finds among the others is added.
        eyes: A pretrained network that the detector looks with; see `detect`. It implies a detector.
        found: What it found, where that has been done.
        validation: Held-out rows on which hyperparameters are chosen and the repair is judged. By default those of an
            image set or source; of arrays see above.
        num_classes: Number of classes; by default that of the image set, or the model's outputs.
        loss: What the model was trained to minimise, where that was not plain cross-entropy; see `unlearning.loss`.
        measure: By what the repair is judged: `"accuracy"`, or `"likelihood"` of the labels, for models that are seldom
            sure, such as language models (see `unlearning.acceptance`).
        seed: Seed of what detector and method draw.

    Returns:
        The repair.

    Raises:
        InputError: If arguments contradict each other, or the method needs flagged rows and there are none.
    """
    seed = check_seed(seed)
    if eyes is not None:
        detect = _see(detect, eyes)
    chosen = _take_method(method, options, detect, time_budget)
    finds = flagged is None and chosen.finds_rows and not isinstance(chosen, Detected)
    if flagged is None and chosen.needs_flagged and not finds:
        raise InputError(
            "This method needs flagged rows: give flagged={row: label}, let a detector find them (detect='patches'), "
            "or use a method that needs none, such as sap."
        )
    check_model(model, trained_on=True)
    data = open_data(data, model)
    train, own_validation, own_classes = take_data(data)
    own_validation = own_validation if validation is None else take_rows("validation", validation)
    num_classes = num_classes or own_classes or count_classes(model, train)
    corrections, suspects = _take_flagged(flagged, data, train, num_classes), None
    if finds:
        chosen = default_detection(train.images).apply(chosen)
    known = None
    if isinstance(chosen, Detected):
        if found is None:
            detector, name = chosen.build_detector(), chosen.detector
            found = detect_rows(
                model,
                data,
                detector=detector,
                name=name,
                num_classes=num_classes,
                flagged=corrections if len(corrections) else None,
                seed=seed,
            )
        chosen = chosen.after(found.record.detection_duration_s)
        suspects, known = found.suspected, corrections
        corrections = with_known(suspected_corrections(suspects, train.labels, chosen.suspects), train.labels, known)
    task = UnlearningTask(
        train,
        corrections,
        own_validation or train,
        num_classes,
        seed=seed,
        suspects=suspects,
        known=known,
        loss=loss or PLAIN,
        measure=measure,
    )
    flagged_rows, corrections = len(corrections), task.corrections
    held_out = None if own_validation is not None else hold_out(train.labels, corrections.rows, seed)
    cpu = time.process_time()
    outcome = chosen.unlearn(model, task if held_out is None else _without(task, held_out))
    cpu = time.process_time() - cpu - outcome.preparation_cpu_s
    if held_out is not None:
        kept = np.delete(np.arange(len(train)), held_out)
        outcome = dataclasses.replace(outcome, rows={name: kept[rows] for name, rows in outcome.rows.items()})
    if found is not None:
        outcome = _with_detection(outcome, found)
        cpu += found.record.detection_cpu_s or 0.0
    return Repair(outcome.model, outcome, corrections, found, cpu, held_out, flagged_rows - len(corrections))


def _take_flagged(flagged: Flagged | None, data: Data, train: Split, num_classes: int) -> Corrections:
    files, names = getattr(data, "train_files", None), getattr(data, "class_names", None)
    return take_flagged(flagged, train, num_classes, files, names)


def _take_method(
    method: str | Method,
    options: Mapping[str, Any] | None,
    detect: str | Detector | DetectSettings | None,
    time_budget: float | str | None,
) -> Method:
    """Returns the method, with its flagged rows from a detector where one is to find them."""
    if not isinstance(method, str | Method):
        raise InputError("method", f"a method or one of {', '.join(methods.available())}", method)
    if options and not isinstance(method, str):
        raise InputError("options", "none beside a method that has its own", sorted(options))
    if time_budget is not None:
        options = {**(options or {}), **take_time(time_budget)}
    chosen = methods.get(method, options) if isinstance(method, str) else method.changed(**(options or {}))
    if detect is None or isinstance(chosen, Detected):
        return chosen
    return take_detection(detect).apply(chosen)


def _without(task: UnlearningTask, held_out: np.ndarray) -> UnlearningTask:
    """Returns a task whose validation rows are some of its training rows; the others are numbered anew."""
    kept = np.delete(np.arange(len(task.train)), held_out)

    def renumbered(rows: Corrections) -> Corrections:
        return dataclasses.replace(rows, rows=np.searchsorted(kept, rows.rows))

    return dataclasses.replace(
        task,
        train=task.train.subset(kept),
        validation=task.train.subset(held_out),
        corrections=renumbered(task.corrections),
        suspects=None if task.suspects is None else renumbered(task.suspects),
        known=None if task.known is None else renumbered(_kept(task.known, held_out)),
    )


def _kept(rows: Corrections, held_out: np.ndarray) -> Corrections:
    """Those that are not held out: a row that is known to be right may be."""
    return rows.subset(~np.isin(rows.rows, held_out))


def _see(detect: str | Detector | DetectSettings | None, eyes: str | os.PathLike[str]) -> DetectSettings:
    """Returns how rows are detected with eyes."""
    told = None if detect is None else take_detection(detect)
    name, options = with_eyes(None if told is None else told.detector, {} if told is None else told.options, eyes)
    assert name is not None
    return DetectSettings(detector=name, options=options) if told is None else told.changed(options=options)


def _with_detection(outcome: UnlearningOutcome, found: Found) -> UnlearningOutcome:
    """Returns an outcome whose duration includes the detection that went before it, which its details describe."""
    kept = {"status", "metrics", "detection_duration_s", "detection_cpu_s"}
    return dataclasses.replace(
        outcome,
        duration_s=outcome.duration_s + found.record.detection_duration_s,
        details={**outcome.details, "detection": found.record.model_dump(include=kept)},
    )
