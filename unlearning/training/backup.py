"""What a training leaves behind for the case that it is killed: best weights, state and log, in one folder."""

from __future__ import annotations

import csv
import logging
import math
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from unlearning import files
from unlearning.errors import InputError, one_line
from unlearning.files import read_table
from unlearning.links import still_real
from unlearning.streams import stream
from unlearning.training.settings import TrainSettings

logger = logging.getLogger(__name__)

WRITING_SHARE = 0.05
"""Most of a training's time that may go into writing backups."""


class Keeper(keras.callbacks.Callback):
    """Keeps the best weights, and all that a resumed run needs in a folder; stops on a loss that is not a number.

    The folder is written after the first two epochs (the first writing is slow, for its imports) and then whenever the
    last writing took less than `WRITING_SHARE` of the time since: short epochs are not spent on writing.

    The stock callbacks leave gaps: `BackupAndRestore` writes weights and epoch number as two files, so that a kill in
    between pairs the wrong ones; `CSVLogger` repeats an epoch that was killed between log and backup; `ModelCheckpoint`
    forgets what the best value was. Here the epoch's state is one file named by the epoch, moved into place last.
    """

    def __init__(self, folder: Path | None, settings: TrainSettings, seed: int, data: Any) -> None:
        super().__init__()
        self._folder, self._monitor, self._seed, self._data = folder, settings.monitor, seed, data
        self._epochs, self._written, self._cost = settings.epochs, -math.inf, 0.0
        self.diverged = False
        self.rows: list[dict[str, float]] = []
        self.best_weights: list[np.ndarray] = []

    def restore(self, model: keras.Model) -> int:
        """Puts a model (and its optimizer) where the interrupted run left it.

        A backup that cannot be read (a power cut can leave one) is dropped with a warning; the model stays as it is.

        Args:
            model: The compiled model.

        Returns:
            The number of finished epochs.
        """
        states = sorted(self._folder.glob("state-*.weights.h5")) if self._folder else []
        if self._folder is None or not states:
            return 0
        variables = [*model.variables, *model.optimizer.variables]
        before = [keras.ops.convert_to_numpy(variable) for variable in variables]
        try:
            return self._read(self._folder, states[-1], model)
        except Exception as error:  # h5py and Keras fail in many ways on a damaged file
            reason = one_line(error)
            logger.warning("The backup %s cannot be read; training starts over: %s", self._folder, reason)
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)
        self.rows, self.best_weights = [], []
        self.discard()
        self._folder.mkdir()
        return 0

    def _read(self, folder: Path, state: Path, model: keras.Model) -> int:
        finished = int(state.name.split("-")[1].split(".")[0])
        log = read_table(folder / "log.csv")
        rows = [{k: int(v) if k == "epoch" else float(v) for k, v in row.items()} for row in log]
        # A row beyond the last state is of an epoch that was killed before it was complete.
        self.rows = rows[:finished]
        if [row["epoch"] for row in self.rows] != [*range(1, finished + 1)]:
            raise InputError(f"log.csv has not the {finished} epochs of {state.name}")
        model.load_weights(self._best_file(folder))
        self.best_weights = model.get_weights()
        model.load_weights(state)
        return finished

    @property
    def best(self) -> dict[str, float]:
        """The log row of the best epoch so far."""
        if self._monitor == "last":
            return self.rows[-1]
        return min(self.rows, key=lambda row: row[self._monitor])

    def _best_file(self, folder: Path) -> Path:
        return folder / f"best-{int(self.best['epoch']):06d}.weights.h5"

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Seeds all that is random in an epoch from seed and epoch alone: a resumed run repeats what it would do."""
        if hasattr(self._data, "start_at"):
            self._data.start_at(epoch)
        for number, layer in enumerate([*self.model.layers, self.model]):
            generator = getattr(layer, "seed_generator", None)
            if generator is not None:
                state = stream(self._seed, "order", "layers", epoch, number).integers(2**32, size=2)
                generator.state.assign(state.astype(generator.state.dtype))
        self._clock = time.perf_counter(), time.process_time()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Stops on a loss that is not a number."""
        if logs and not np.isfinite(logs.get("loss", 0.0)):
            self.diverged = True
            self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Notes the epoch's log, its weights where it is the best so far, and writes the backup where that is due."""
        if self.diverged or not np.isfinite(logs["loss"]):
            self.diverged = True
            self.model.stop_training = True
            return
        if self._monitor not in (*logs, "last"):
            raise InputError("monitor", f"last, or one of {', '.join(logs)}", self._monitor)
        self.rows.append(
            {
                "epoch": epoch + 1,
                **{name: float(value) for name, value in logs.items()},
                "seconds": time.perf_counter() - self._clock[0],
                "cpu_seconds": time.process_time() - self._clock[1],
            }
        )
        if self.best is self.rows[-1]:
            self.best_weights = self.model.get_weights()
        now, finished = time.perf_counter(), epoch + 1
        due = finished <= 2 or self._cost <= WRITING_SHARE * (now - self._written)
        if self._folder is not None and finished < self._epochs and due:
            self._write(self._folder, finished)
            self._written = time.perf_counter()
            self._cost = self._written - now

    def _write(self, folder: Path, finished: int) -> None:
        best = self._best_file(folder)
        if not best.exists():
            with files.writing(best) as aside:
                self._write_best(str(aside), finished)
        write_log(folder / "log.csv", self.rows)
        state = folder / f"state-{finished:06d}.weights.h5"
        with files.writing(state) as aside:
            self.model.save_weights(str(aside))
        for old in folder.glob("*.weights.h5"):
            if old not in (state, best):
                still_real(old).unlink()

    def _write_best(self, name: str, finished: int) -> None:
        if self.best["epoch"] == finished:
            self.model.save_weights(name)
            return
        current = self.model.get_weights()
        self.model.set_weights(self.best_weights)
        try:
            self.model.save_weights(name)
        finally:
            self.model.set_weights(current)

    def discard(self) -> None:
        """Removes the folder at once: a backup that a kill left half removed could not be resumed from."""
        if self._folder is not None:
            aside = self._folder.with_name(f"{files.PARTIAL}{os.getpid()}-{self._folder.name}")
            os.replace(still_real(self._folder), aside)
            shutil.rmtree(aside, ignore_errors=True)


def write_log(path: Path, rows: Sequence[dict[str, float]]) -> None:
    """Writes the log of a training as CSV: one row an epoch."""
    with files.writing(path) as aside, aside.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
