"""Finding the rows of a model's training data whose labels look wrong, in memory."""

from __future__ import annotations

import dataclasses
import logging
import time
from pathlib import Path
from typing import Any

import numpy as np

from unlearning import detection
from unlearning.detection.base import Detection, Detector
from unlearning.detection.metrics import score_detection
from unlearning.drawing.figures import draw_mixture
from unlearning.interop import set_determinism
from unlearning.records import DetectionMetrics, DetectionResults, finite
from unlearning.repairs.environment import describe_environment
from unlearning.task import Corrections, Split

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, eq=False)
class Found:
    """What a detection found and what it cost.

    Attributes:
        suspected: Suspects with suggested labels.
        record: The numbers, as result files keep them.
        detection: All scores; None where the detection was read back from files.
    """

    suspected: Corrections
    record: DetectionResults
    detection: Detection | None = None


def detect(
    model: Any,
    train: Split,
    num_classes: int,
    *,
    detector: str | Detector = "patches",
    name: str | None = None,
    seed: int = 0,
    bad_rows: np.ndarray | None = None,
    config_hash: str | None = None,
) -> Found:
    """Runs a detector and measures it; nothing is written.

    Args:
        model: The trained classifier; it is not changed.
        train: Its training rows with their given labels.
        num_classes: Number of classes.
        detector: A registered name, or a detector.
        name: Its name in the record, where `detector` is none.
        seed: Seed of what the detector draws.
        bad_rows: Rows known to be bad, for scoring only, or None.
        config_hash: For the record.

    Returns:
        What was found.

    Raises:
        InputError: If model, rows and detector do not fit each other.
    """
    chosen = detection.get(detector) if isinstance(detector, str) else detector
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
    record = DetectionResults(
        detector=name or (detector if isinstance(detector, str) else type(chosen).__name__),
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
    return Found(Corrections(found.suspects, found.suggested_labels[found.suspects]), record, found)


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
