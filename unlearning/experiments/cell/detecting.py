"""The suspects of a cell: detected once, and found again by every repair that asks for them."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from unlearning.archives import read_arrays
from unlearning.errors import InputError
from unlearning.experiments.cell import folder as layout
from unlearning.experiments.cell.choices import detect_variant
from unlearning.experiments.cell.rows import Cell
from unlearning.experiments.cell.stages import finished, keep_inside, set_aside
from unlearning.files import check_file, writing
from unlearning.records import DetectConfig, DetectionResults, config_hash, write_json
from unlearning.repairs.settings import DetectSettings
from unlearning.task import Corrections

if TYPE_CHECKING:
    import keras

    from unlearning.repairs.found import Found

logger = logging.getLogger(__name__)

_LARGEST_GUESSES = 2**32


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
    from unlearning.repairs.flagged import write_suspects
    from unlearning.repairs.found import Found

    files, results = detected_files(cell, choice), None if anew else find_detected(cell, choice)
    num_classes = cell.setup.data.num_classes
    if results is not None and results.suspects:
        try:
            return Found(_read(files, len(cell.given), num_classes), results)
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
        _write_guesses(files.guesses, found.suspected)
        draw_scores(files.figure, found.detection, choice.detector, cell.corruption.rows)
        write_json(files.results, found.record)
        results = found.record
    if not results.suspects:
        return Found(Corrections.none(), results)
    return Found(_read(files, len(cell.given), num_classes), results)


def _write_guesses(path: Path, suspected: Corrections) -> None:
    """Keeps how probable each label of a suspect is, to the last bit: methods go by it."""
    import numpy as np

    if suspected.probabilities is None:
        path.unlink(missing_ok=True)
        return
    with writing(path) as aside, aside.open("wb") as file:
        np.savez_compressed(file, rows=suspected.rows, probabilities=suspected.probabilities)


def _read(files: layout.DetectionFiles, rows: int, num_classes: int) -> Corrections:
    """Reads suspects, as every repair is told of them, now and later, with guesses where there are any.

    Returns:
        The suspects.

    Raises:
        InputError: If a file is damaged, or the two are about different rows.
    """
    import numpy as np

    from unlearning.repairs.flagged import read_flagged

    suspected = read_flagged(files.suspects, rows, num_classes)
    if not files.guesses.is_file():  # a detector without any, or a detection of version 0.1
        return suspected
    kept = read_arrays(check_file("guesses", files.guesses, _LARGEST_GUESSES, ".npz file"))
    if set(kept) != {"rows", "probabilities"} or not np.array_equal(kept["rows"], np.sort(suspected.rows)):
        raise InputError(f"{files.guesses} is not about the rows of {files.suspects.name}.")
    order = np.argsort(suspected.rows)
    probabilities = np.empty_like(kept["probabilities"])
    probabilities[order] = kept["probabilities"]
    return dataclasses.replace(suspected, probabilities=probabilities)
