"""Trainings and repairs for TensorBoard: event files in folders named like those of the results.

A folder holds one undisturbed run, whatever happened in between. Trainings are written by `training_board`, a callback.
"""

from __future__ import annotations

import importlib.util
import math
import numbers
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unlearning.errors import InputError
from unlearning.files import PARTIAL, is_plain

SUFFIX = ".unlearning"
"""How names of event files of this program end; only these are ever removed."""


def check_tensorboard(folder: Path) -> None:
    """Raises `InputError` where event files cannot be written: for want of a package (whatever backend Keras uses).

    Args:
        folder: Where they are to go.

    Raises:
        InputError: If a package is missing, or `folder` is a file.
    """
    for package in ("tensorflow", "tensorboard"):  # TensorFlow no longer brings TensorBoard along
        if importlib.util.find_spec(package) is None:
            raise InputError(
                f"--tensorboard needs the package {package}, which is not installed: pip install {package}"
                + (" (or pip install 'keras-unlearning[tensorboard]')." if package == "tensorboard" else ".")
            )
    if folder.exists() and not folder.is_dir():
        raise InputError("tensorboard", "a folder", str(folder))


def write_repair(
    folder: Path,
    history: Sequence[Mapping[str, Any]],
    solver_log: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Writes what a repair did as scalars.

    `steps/<name>` are the numbers of the history by step (validation accuracy, loss and what else a method logs), and
    `solver/step_<n>/<name>` those of the solve in step n by iteration (residuals); in a chain a stage's name stands
    in front of the step.

    Args:
        folder: Where the event file goes; those of this program are removed.
        history: Rows with `step`; see `unlearning.task.UnlearningOutcome`.
        solver_log: Rows with `step` and `iteration`, in chains with `stage`.
    """
    from tensorboard.summary import Writer

    folder.mkdir(parents=True, exist_ok=True)
    remove_events(folder)
    with tempfile.TemporaryDirectory(prefix=PARTIAL, dir=folder) as aside:
        writer = Writer(aside)

        def write(place: str, row: Mapping[str, Any], known: Sequence[str], step: int) -> None:
            for name, value in row.items():
                if name not in known and _is_finite(value):
                    writer.add_scalar(f"{place}/{name}", float(value), step)

        for row in history:
            write("steps", row, ("step",), int(row["step"]))
        for row in solver_log:
            place = "/".join(["solver", *filter(None, [str(row.get("stage") or "")]), f"step_{row['step']}"])
            write(place, row, ("step", "iteration", "stage"), int(row["iteration"]))
        writer.close()
        for path in Path(aside).iterdir():  # the writer takes no name
            os.replace(path, folder / f"{path.name}{SUFFIX}")


def remove_events(folder: Path) -> None:
    """Removes the event files that this program wrote into a folder."""
    for path in folder.glob(f"events.out.tfevents.*{SUFFIX}"):
        if is_plain(path):
            path.unlink()


def _is_finite(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)
