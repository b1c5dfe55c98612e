"""One repair, in memory: what is known of bad rows -> (detection) -> a method -> a corrected model and what it cost.

A user's own model and the cells of an experiment are repaired by this same function; a cell knows the true labels
besides, and adds scores that no user could have.

Example:
    >>> from unlearning.repairs import repair
    >>> done = repair(model, data, flagged=Corrections(rows, labels), method="second-order")  # doctest: +SKIP
    >>> done.outcome.applied, done.outcome.validation_accuracy_after  # doctest: +SKIP
"""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Any

from unlearning import methods
from unlearning.errors import InputError, invalid
from unlearning.methods.detected import Detected, suspected_corrections
from unlearning.repairs.find import Found, detect
from unlearning.repairs.settings import DetectSettings
from unlearning.task import Corrections, Split, UnlearningOutcome, UnlearningTask, check_split

if TYPE_CHECKING:
    import keras

    from unlearning.data import ImageData
    from unlearning.methods.base import Method


@dataclasses.dataclass(frozen=True, eq=False)
class Repair:
    """A finished repair.

    Attributes:
        model: The repaired model; equal to the given one where nothing was applied.
        outcome: What the method did. Its duration includes the detection, which its details describe.
        corrections: The flagged rows as the method was told of them first.
        found: What a detector found; None where the rows were known or are not needed.
        cpu_s: Process CPU seconds of detection and method.
    """

    model: keras.Model
    outcome: UnlearningOutcome
    corrections: Corrections
    found: Found | None
    cpu_s: float


def repair(
    model: keras.Model,
    data: ImageData | Split | tuple[Any, Any],
    *,
    flagged: Corrections | None = None,
    method: str | Method = "second-order",
    detect_by: DetectSettings | str | None = None,
    found: Found | None = None,
    validation: Split | tuple[Any, Any] | None = None,
    num_classes: int | None = None,
    seed: int = 0,
) -> Repair:
    """Corrects a trained classifier; the given model is not changed.

    Args:
        model: A trained Keras classifier.
        data: What it was trained on, with the labels it was trained on: an image set, or images and labels.
        flagged: The bad rows and what should have stood there; None where they are to be detected or not needed.
        method: A registered name (see `unlearning.methods.available`), a chain such as `sap+second-order`, or a method.
        detect_by: Let a detector find the bad rows: its name, or how.
        found: What it found, where that has been done.
        validation: Held-out rows on which hyperparameters are chosen; needed where `data` is no image set.
        num_classes: Number of classes; by default that of the image set, or the model's outputs.
        seed: Seed of what detector and method draw.

    Returns:
        The repair.

    Raises:
        InputError: If arguments contradict each other, or the method needs flagged rows and there are none.
    """
    train, validation, num_classes = _parts(model, data, validation, num_classes)
    chosen = methods.get(method) if isinstance(method, str) else method
    if isinstance(detect_by, str):
        detect_by = DetectSettings(detector=detect_by)
    if detect_by is not None:
        if flagged is not None:
            raise InputError("Give flagged rows or a detector that finds them, not both.")
        chosen = chosen if isinstance(chosen, Detected) else detect_by.apply(chosen)
    if flagged is None and chosen.needs_flagged:
        raise InputError(
            "This method needs flagged rows: give them, let a detector find them, or use a method that needs none, "
            "such as sap."
        )
    corrections, suspects = flagged if flagged is not None else Corrections.none(), None
    if isinstance(chosen, Detected):
        if found is None:
            found = detect(model, train, num_classes, detector=chosen.build_detector(), name=chosen.detector, seed=seed)
        suspects = found.suspected
        corrections = suspected_corrections(suspects, train.labels, chosen.suspects)
    task = UnlearningTask(train, corrections, validation, num_classes, seed=seed, suspects=suspects)
    cpu = time.process_time()
    outcome = chosen.unlearn(model, task)
    cpu = time.process_time() - cpu - outcome.preparation_cpu_s
    if found is not None:
        outcome = _with_detection(outcome, found)
        cpu += found.record.detection_cpu_s or 0.0
    return Repair(outcome.model, outcome, corrections, found, cpu)


def _parts(model: keras.Model, data: Any, validation: Any, num_classes: int | None) -> tuple[Split, Split, int]:
    """Takes the data apart, whatever form they came in."""
    if isinstance(data, Split | tuple):
        if validation is None:
            raise invalid("validation", "held-out rows, as (images, labels)", "none")
        train = check_split("data", data)
    else:
        train = data.train
        validation = data.validation if validation is None else validation
        num_classes = num_classes or data.num_classes
    return train, check_split("validation", validation), num_classes or int(model.output_shape[-1])


def _with_detection(outcome: UnlearningOutcome, found: Found) -> UnlearningOutcome:
    """Returns an outcome whose duration includes the detection that went before it, which its details describe."""
    kept = {"status", "metrics", "detection_duration_s", "detection_cpu_s"}
    return dataclasses.replace(
        outcome,
        duration_s=outcome.duration_s + found.record.detection_duration_s,
        details={**outcome.details, "detection": found.record.model_dump(include=kept)},
    )
