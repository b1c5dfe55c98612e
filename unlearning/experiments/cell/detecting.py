"""The suspects of a cell: detected once, and found again by every repair that asks for them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from unlearning.experiments.cell import folder as layout
from unlearning.experiments.cell.choices import detect_variant
from unlearning.experiments.cell.rows import Cell
from unlearning.experiments.cell.stages import finished
from unlearning.records import DetectConfig, DetectionResults, config_hash, write_json
from unlearning.repairs.settings import DetectSettings
from unlearning.task import Corrections

if TYPE_CHECKING:
    import keras

    from unlearning.repairs.find import Found

logger = logging.getLogger(__name__)


def ensure_detected(cell: Cell, choice: DetectSettings, model: keras.Model) -> Found:
    """Detects the suspects of a cell unless they are there.

    Args:
        cell: The cell.
        choice: How to detect.
        model: Its poisoned model.

    Returns:
        What was found, now or before; scored with the rows that are truly bad.
    """
    from unlearning.repairs.find import Found, detect, draw_scores
    from unlearning.repairs.flagged import read_flagged, write_suspects

    detector = choice.build()
    config = DetectConfig(detector=choice.detector, options=detector.config())
    wanted = config_hash(cell.train_config, cell.poison_config, config)
    files = layout.detection_files(cell.files.folder, choice.detector, detect_variant(choice))
    results = finished(files.results, DetectionResults, wanted)
    num_classes = cell.setup.data.num_classes
    if results is None or (results.suspects and not files.suspects.is_file()):
        logger.info("detecting by %s: budget %d, seed %d", choice.detector, cell.budget, cell.seed)
        found = detect(
            model,
            cell.given,
            detector=detector,
            name=choice.detector,
            num_classes=num_classes,
            seed=cell.seed,
            bad_rows=cell.corruption.rows,
            config_hash=wanted,
        )
        assert found.detection is not None
        write_suspects(files.suspects, cell.given, found.detection)
        draw_scores(files.figure, found.detection, choice.detector, cell.corruption.rows)
        write_json(files.results, found.record)
        results = found.record
    if not results.suspects:
        return Found(Corrections.none(), results)
    return Found(read_flagged(files.suspects, len(cell.given), num_classes), results)
