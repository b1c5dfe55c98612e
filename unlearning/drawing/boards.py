"""Trainings and repairs for TensorBoard: event files in folders named like those of the results.

A folder holds one undisturbed run, whatever happened in between. Keras's own callback would begin a second file when a
training resumes, with the epochs between the last backup and the interruption twice; here the epochs of the backup are
written again and the old files go.
"""

from __future__ import annotations

import csv
import importlib.util
import math
import numbers
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from unlearning.errors import InputError, invalid

_EVENTS = "events.out.tfevents.*"


def check_tensorboard(folder: Path) -> None:
    """Raises `InputError` where event files cannot be written: for want of a package (whatever backend Keras uses).

    Args:
        folder: Where they are to go.
    """
    for package in ("tensorflow", "tensorboard"):  # TensorFlow no longer brings TensorBoard along
        if importlib.util.find_spec(package) is None:
            raise InputError(
                f"--tensorboard needs the package {package}, which is not installed: pip install {package}"
                + (" (or pip install 'keras-unlearning[tensorboard]')." if package == "tensorboard" else ".")
            )
    if folder.exists() and not folder.is_dir():
        raise invalid("tensorboard", "a folder", str(folder))


class TrainingBoard(keras.callbacks.TensorBoard):
    """Keras's callback for the scalars of every epoch: loss, accuracy, learning rate; step 0 is the first epoch.

    Of epochs before a training resumed, what their log has is there: the learning rate is not.

    Args:
        folder: Where the event files go (Keras adds `train` and `validation`); those there are removed.
        log: The log of an interrupted training (`epoch` from 1, `loss`, `accuracy`), or None.
    """

    def __init__(self, folder: Path, log: Path | None = None) -> None:
        super().__init__(log_dir=str(folder), write_graph=False, histogram_freq=0, profile_batch=0)
        self._folder, self._log, self._begun = folder, log, False
        # Read now: the training goes on writing there.
        self._earlier = _read_log(log) if log is not None and log.is_file() else []

    def on_train_begin(self, logs: Any = None) -> None:
        """Removes what an interrupted training wrote."""
        for part in ("train", "validation"):
            _remove_events(self._folder / part)
        super().on_train_begin(logs)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Writes the epochs of an interrupted training again before the first of this one."""
        if not self._begun:
            self._begun = True
            with self._train_writer.as_default():
                for row in self._earlier:
                    if row["epoch"] <= epoch:  # later ones are repeated
                        _write_scalars(
                            {f"epoch_{name}": value for name, value in row.items() if name in ("loss", "accuracy")},
                            int(row["epoch"]) - 1,
                        )
        super().on_epoch_begin(epoch, logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Writes an epoch so that it can be seen at once."""
        super().on_epoch_end(epoch, logs)
        self._train_writer.flush()


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
        folder: Where the event file goes; those there are removed.
        history: Rows with `step`; see `unlearning.task.UnlearningOutcome`.
        solver_log: Rows with `step` and `iteration`, in chains with `stage`.
    """
    import tensorflow as tf

    _remove_events(folder)
    writer = tf.summary.create_file_writer(str(folder))
    with writer.as_default():
        for row in history:
            values = {f"steps/{name}": value for name, value in row.items() if name != "step"}
            _write_scalars(values, int(row["step"]))
        for row in solver_log:
            place = "/".join([*filter(None, [str(row.get("stage") or "")]), f"step_{row['step']}"])
            known = ("step", "iteration", "stage")
            values = {f"solver/{place}/{name}": value for name, value in row.items() if name not in known}
            _write_scalars(values, int(row["iteration"]))
    writer.close()


def _write_scalars(values: Mapping[str, Any], step: int) -> None:
    import tensorflow as tf

    for name, value in values.items():
        if isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value):
            tf.summary.scalar(name, float(value), step=step)


def _remove_events(folder: Path) -> None:
    for path in folder.glob(_EVENTS):
        path.unlink()


def _read_log(path: Path) -> list[dict[str, float]]:
    with path.open(newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
