"""The suspects of a cell: detected once, and found again by every repair that asks for them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from unlearning.errors import InputError
from unlearning.experiments.cell import folder as layout
from unlearning.experiments.cell.choices import detect_variant
from unlearning.experiments.cell.rows import Cell
from unlearning.experiments.cell.stages import finished, keep_inside, set_aside
from unlearning.records import DetectConfig, DetectionResults, config_hash, write_json
from unlearning.repairs.settings import DetectSettings
from unlearning.task import Corrections

if TYPE_CHECKING:
    import keras

    from unlearning.repairs.found import Found

logger = logging.getLogger(__name__)


def detected_files(cell: Cell, choice: DetectSettings) -> layout.DetectionFiles:
    """Returns the files of a detection in a cell."""
    return layout.detection_files(cell.files.folder, choice.detector, detect_variant(choice))


def find_detected(cell: Cell, choice: DetectSettings) -> DetectionResults | None:
    """Returns the results of a detection, or None where there are none; writes nothing.

    Passes on an `InputError` if the folder holds what another configuration found.
    """
    files = detected_files(cell, choice)
    keep_inside(cell.setup.folder, files)
    results = finished(files.results, DetectionResults, _wanted(cell, choice))
    return None if results is None or (results.suspects and not files.suspects.is_file()) else results


def _wanted(cell: Cell, choice: DetectSettings) -> str:
    config = DetectConfig(detector=choice.detector, options=choice.build().config())
    return config_hash(cell.train_config, cell.poison_config, config)


def ensure_detected(cell: Cell, choice: DetectSettings, model: keras.Model, *, anew: bool = False) -> Found:
    """Detects the suspects of a cell unless they are there.

    Args:
        cell: The cell.
        choice: How to detect.
        model: Its poisoned model.
        anew: Also where they are there.

    Returns:
        What was found, now or before; scored with the rows that are truly bad.
    """
    from unlearning.repairs.find import detect, draw_scores
    from unlearning.repairs.flagged import read_flagged, write_suspects
    from unlearning.repairs.found import Found

    files, results = detected_files(cell, choice), None if anew else find_detected(cell, choice)
    num_classes = cell.setup.data.num_classes
    if results is not None and results.suspects:
        try:
            return Found(read_flagged(files.suspects, len(cell.given), num_classes), results)
        except InputError as error:
            logger.warning("Detecting again: %s", error)
            results = None
    if results is None:
        keep_inside(cell.setup.folder, files)
        set_aside(files.results, DetectionResults)
        found = detect(
            model,
            cell.given,
            detector=choice.build(),
            name=choice.detector,
            num_classes=num_classes,
            seed=cell.seed,
            bad_rows=cell.corruption.rows,
            class_names=cell.setup.data.class_names,
            config_hash=_wanted(cell, choice),
        )
        assert found.detection is not None
        write_suspects(files.suspects, cell.given, found.detection, files=cell.setup.data.train_files)
        draw_scores(files.figure, found.detection, choice.detector, cell.corruption.rows)
        write_json(files.results, found.record)
        results = found.record
    if not results.suspects:
        return Found(Corrections.none(), results)
    return Found(read_flagged(files.suspects, len(cell.given), num_classes), results)
