"""How a stage is found again: done once, with its configuration beside it, and its results written last.

A stage is finished when its results file validates and carries the hash of the configuration asked for. Whatever an
interruption leaves behind is recomputed. A folder whose configuration differs is refused, never overwritten.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TypeVar

from unlearning.errors import InputError
from unlearning.experiments.cell import folder as layout
from unlearning.files import file_sha256, real_below
from unlearning.records import (
    DetectionResults,
    Record,
    TrainResults,
    UnlearningResults,
    differing_keys,
    read_json,
    write_json,
)

logger = logging.getLogger(__name__)

T = TypeVar("T", TrainResults, UnlearningResults, DetectionResults)


def keep_inside(experiment: Path, files: layout.Files) -> None:
    """Raises `InputError` if a stage would be read or written outside of its experiment, through a link.

    Args:
        experiment: The experiment's folder.
        files: The stage's files.
    """
    for name, value in vars(type(files)).items():
        if isinstance(value, property):
            real_below(experiment, getattr(files, name))


def agrees(path: Path, config: Record) -> bool:
    """Whether a configuration is there already.

    Returns:
        Whether the file holds this configuration; False where there is none.

    Raises:
        InputError: If another one is.
    """
    if not path.is_file():
        return False
    there = read_json(path, type(config))
    if there != config:
        differences = "; ".join(differing_keys(there, config))
        raise InputError(
            f"{path.parent} holds another configuration: {differences}. Choose another --out, or remove the folder."
        )
    return True


def claim(path: Path, config: Record) -> Path:
    """Writes a configuration, or makes sure that the one already there is the same."""
    if not agrees(path, config):
        write_json(path, config)
    return path


def finished(path: Path, kind: type[T], wanted: str) -> T | None:
    """Returns the results of a finished stage, or None where there are none.

    Raises:
        InputError: If they are damaged, or were made with another configuration.
    """
    if not path.is_file():
        return None
    results = read_json(path, kind)
    if results.config_hash != wanted:
        raise InputError(
            f"{path} was made with another configuration than the one asked for. "
            "Choose another --out, or remove the folder."
        )
    return results


def is_intact(files: layout.TrainedFiles, results: TrainResults) -> bool:
    """Whether the weights of a finished training are there, byte for byte."""
    if not files.model.is_file():
        logger.warning("%s is missing; training it again.", files.model)
        return False
    if file_sha256(files.model) != results.model_sha256:
        logger.warning("%s does not match its recorded SHA-256; training it again.", files.model)
        return False
    return True
