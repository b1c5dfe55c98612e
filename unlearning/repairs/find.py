"""Finding the rows of a model's training data whose labels look wrong, in memory."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unlearning import detection
from unlearning.detection.base import Detection, Detector
from unlearning.detection.metrics import score_detection
from unlearning.drawing import canvas
from unlearning.drawing.figures import draw_mixture
from unlearning.errors import InputError
from unlearning.interop import set_determinism
from unlearning.records import DetectionMetrics, DetectionResults, finite
from unlearning.repairs.environment import describe_environment
from unlearning.repairs.flagged import Flagged, take_flagged
from unlearning.repairs.found import Found, describe_rows
from unlearning.repairs.settings import with_eyes
from unlearning.repairs.taking import Data, check_model, count_classes, open_data, take_data
from unlearning.settings import check_seed

if TYPE_CHECKING:
    import keras

logger = logging.getLogger(__name__)

_DEFAULT = "patches"
_WEAK = 0.8  # share of the rows that are named right, as far as that can be told; below it eyes are recommended


def detect(
    model: keras.Model,
    data: Data,
    *,
    detector: str | Detector | None = None,
    eyes: str | os.PathLike[str] | None = None,
    options: Mapping[str, Any] | None = None,
    num_classes: int | None = None,
    flagged: Flagged | None = None,
    seed: int = 0,
    name: str | None = None,
    bad_rows: np.ndarray | None = None,
    class_names: Sequence[str] | None = None,
    config_hash: str | None = None,
) -> Found:
    """Finds training rows whose labels look wrong, and measures what that costs; nothing is written.

    Passes on an `InputError` if model, rows and detector do not fit each other.

    Args:
        model: The trained classifier; it is not changed.
        data: What it was trained on, with the labels it was trained on; see `unlearning.repair`.
        detector: A registered name (see `unlearning.detection.available`), or a detector; by default `patches`, and
            with eyes `pretrained`.
        eyes: A pretrained network that looks at the images: a `.keras` or LiteRT file, a name of `keras.applications`,
            or `own`; see `unlearning.eyes.open_eyes`.
        options: Options of the detector named, where they are not its defaults; see `unlearning.detection.get`.
        num_classes: Number of classes; by default that of the image set, or the model's outputs.
        flagged: Rows that are known already, and the labels that should stand there (the given one where it is right);
            see `unlearning.repair`. They teach detectors that can learn of them, and are no suspects.
        seed: Seed of what the detector draws.
        name: Its name in the record, where `detector` is none.
        bad_rows: Rows known to be bad, for scoring only, or None.
        class_names: For the record, where the data do not know them.
        config_hash: For the record.

    Returns:
        What was found; row numbers are positions in the data.

    Example:
        >>> from unlearning import detect
        >>> found = detect(model, (x, y), detector="neighbours", options={"neighbours": 10})
        >>> len(found.suspected) == found.record.suspects
        True
    """
    seed = check_seed(seed)
    chosen, own_name = _take_detector(detector, options, eyes)
    check_model(model)
    data = open_data(data, model)
    train, _, own_classes = take_data(data)
    num_classes = num_classes or own_classes or count_classes(model, train)
    names = getattr(data, "class_names", None) or class_names
    files = getattr(data, "train_files", None)
    known = take_flagged(flagged, train, num_classes, files, names)
    set_determinism(seed)
    started, cpu = time.perf_counter(), time.process_time()
    told = (known,) if len(known) else ()  # detectors of others may take none
    found = chosen.detect(model, train, num_classes, seed, *told)
    duration, cpu = time.perf_counter() - started, time.process_time() - cpu
    changed = int(np.count_nonzero((found.suggested_labels != train.labels)[found.suspects]))
    if 2 * changed < len(found.suspects):
        logger.warning(
            "For %d of %d suspects the suggested label is the given one: what judges them has learned it. "
            "Correct these labels by hand, or try cross-validation or neighbours.",
            len(found.suspects) - changed,
            len(found.suspects),
        )
    _say_what_eyes_add(chosen, found)
    record = DetectionResults(
        detector=name or own_name,
        options=chosen.config(),
        rows=len(train),
        num_classes=num_classes,
        suspects=len(found.suspects),
        suspect_share=len(found.suspects) / len(train),
        suggestions_changed=changed,
        threshold=found.threshold,
        status=str(found.status),
        details=finite(dict(found.details)),
        class_names=None if names is None else list(names),
        metrics=None if bad_rows is None else DetectionMetrics.model_validate(score_detection(found, bad_rows)),
        bad_rows=None if bad_rows is None else len(bad_rows),
        seed=seed,
        detection_duration_s=duration,
        detection_cpu_s=cpu,
        config_hash=config_hash,
        environment=describe_environment(),
    )
    source = describe_rows(train, num_classes, names, files)
    return Found(found.suspected(), record, found, source, known if len(known) else None)


def _take_detector(
    detector: str | Detector | None, options: Mapping[str, Any] | None, eyes: str | os.PathLike[str] | None
) -> tuple[Detector, str]:
    """Returns the detector, and its name in the record."""
    if detector is None or isinstance(detector, str):
        named, told = with_eyes(detector, options or {}, eyes)
        return detection.get(named or _DEFAULT, told), named or _DEFAULT
    if not isinstance(detector, Detector):
        raise InputError("detector", f"a detector or one of {', '.join(detection.available())}", detector)
    if options:
        raise InputError("options", "none beside a detector that has its own", sorted(options))
    if eyes is not None:
        raise InputError("eyes", "none beside a detector that has its own", os.fspath(eyes))
    return detector, type(detector).__name__


def _say_what_eyes_add(detector: Detector, found: Detection) -> None:
    """Says where what judged knows little of the images, and was shaped by none but these."""
    agreeing, rate = (found.details.get(name) for name in ("leave_one_out_accuracy", "estimated_noise_rate"))
    if getattr(detector, "eyes", "own") != "own" or agreeing is None or rate is None or rate >= 1:
        return
    right = min(1.0, agreeing / (1 - rate))
    if right < _WEAK:
        logger.warning(
            "What judges these rows names about %.0f %% of them right, so that many suspects are good rows. A network "
            "trained on other pictures sees more: --eyes NAME_OR_FILE (eyes= in Python), such as --eyes MobileNetV2, "
            "whose weights Keras downloads.",
            100 * right,
        )


def draw_scores(path: Path, found: Detection, name: str, bad_rows: np.ndarray | None) -> None:
    """Draws the histogram of a detection's scores; see `draw_mixture`. One that cannot be drawn is a warning."""
    with canvas.optional(f"The scores of {name}"):
        draw_mixture(
            path,
            found.scores,
            mixture=found.details.get("mixture"),
            threshold=found.threshold,
            bad_rows=bad_rows,
            label=f"score ({name})",
        )
