"""How a stage is found again: done once, with its configuration beside it, and its results written last.

A stage is finished when its results file validates and carries the hash of the configuration asked for. Whatever an
interruption leaves behind is recomputed, and so is what a broken disk or a power cut made of a record: it counts as
missing, and is moved aside when the stage is made again. A folder whose configuration differs is refused, never
overwritten; so is a record that another version wrote.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TypeVar

from unlearning.errors import InputError
from unlearning.experiments.cell import folder as layout
from unlearning.files import file_sha256, is_plain
from unlearning.links import real_below, still_real
from unlearning.records import (
    DetectionResults,
    MemorisationResults,
    Record,
    TrainResults,
    UnlearningResults,
    differing_keys,
    read_json,
    read_raw,
    write_json,
)

logger = logging.getLogger(__name__)

R = TypeVar("R", bound=Record)
T = TypeVar("T", TrainResults, UnlearningResults, DetectionResults, MemorisationResults)


def keep_inside(experiment: Path, files: layout.Files) -> None:
    """Raises `InputError` if a stage would be read or written outside of its experiment, through a link.

    Args:
        experiment: The experiment's folder.
        files: The stage's files.
    """
    if is_plain(real_below(experiment, files.folder)):
        return  # a file where a folder should be: this stage fails when it is made, and the others go on
    for name, value in vars(type(files)).items():
        if isinstance(value, property):
            real_below(experiment, getattr(files, name))


def read_own(path: Path, kind: type[R]) -> R | None:
    """Reads a record of an own cell; writes nothing.

    Args:
        path: The file.
        kind: What it should be.

    Returns:
        The record; None where there is none, or a damaged one.

    Raises:
        InputError: If it is a whole record of another kind or version, which is not ours to replace.
    """
    if not path.is_file():
        return None
    try:
        return read_json(path, kind)
    except InputError:
        if _is_foreign(path, kind):
            raise
        return None


def _is_foreign(path: Path, kind: type[Record]) -> bool:
    try:
        content = read_raw(path)
    except InputError:
        return False
    known = {name for key, field in kind.model_fields.items() for name in (key, field.alias)}
    return isinstance(content, dict) and not set(content) <= known


def set_aside(path: Path, kind: type[Record]) -> None:
    """Moves a damaged record of an own cell out of the way, with a warning; any other stays where it is."""
    if path.is_file() and read_own(path, kind) is None:
        aside = path.with_name(f"{path.name}.damaged")
        os.replace(still_real(path), aside)
        logger.warning("%s is damaged; it is now %s, and is made again.", path, aside.name)


def agrees(path: Path, config: Record) -> bool:
    """Whether a configuration is there already.

    Returns:
        Whether the file holds this configuration; False where there is none, or a damaged one.

    Raises:
        InputError: If another one is.
    """
    there = read_own(path, type(config))
    if there is None:
        return False
    if there != config:
        differences = "; ".join(differing_keys(there, config))
        raise InputError(
            f"{path.parent} holds another configuration: {differences}. Choose another --out, or remove the folder."
        )
    return True


def claim(path: Path, config: Record) -> Path:
    """Writes a configuration, or makes sure that the one already there is the same."""
    if not agrees(path, config):
        set_aside(path, type(config))
        write_json(path, config)
    return path


def finished(path: Path, kind: type[T], wanted: str) -> T | None:
    """Returns the results of a finished stage, or None where there are none, or damaged ones.

    Raises:
        InputError: If they were made with another configuration.
    """
    results = read_own(path, kind)
    if results is not None and results.config_hash != wanted:
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
