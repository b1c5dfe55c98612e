"""A training for TensorBoard, resumed or not.

Keras's own callback would begin a second file when a training resumes, with the epochs between the last backup and the
interruption twice; here the epochs of the backup are written again and the old files go.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import keras

from unlearning.drawing.boards import SUFFIX, remove_events
from unlearning.files import read_table


class TrainingBoard(keras.callbacks.TensorBoard):
    """Keras's callback for the scalars of every epoch: loss, accuracy, learning rate; step 0 is the first epoch.

    Of epochs before a training resumed, what their log has is there: the learning rate is not.

    Args:
        folder: Where the event files go (Keras adds `train` and `validation`); those of this program are removed.
        log: The log of an interrupted training (`epoch` from 1, `loss`, `accuracy`), or None.
    """

    def __init__(self, folder: Path, log: Path | None = None) -> None:
        super().__init__(log_dir=str(folder), write_graph=False, histogram_freq=0, profile_batch=0)
        self._folder, self._begun = folder, False
        # Read now: the training goes on writing there.
        self._earlier = _read_log(log) if log is not None and log.is_file() else []

    @property
    def _train_writer(self) -> Any:
        return self._writer("train", self._train_dir)

    @property
    def _val_writer(self) -> Any:
        return self._writer("val", self._val_dir)

    def _writer(self, name: str, folder: str) -> Any:
        """As Keras's own, but for the name of the file, by which it is known again."""
        if name not in self._writers:
            self._writers[name] = self.summary.create_file_writer(folder, filename_suffix=SUFFIX)
        return self._writers[name]

    def on_train_begin(self, logs: Any = None) -> None:
        """Removes what an interrupted training wrote."""
        for part in ("train", "validation"):
            remove_events(self._folder / part)
        super().on_train_begin(logs)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Writes the epochs of an interrupted training again before the first of this one."""
        if not self._begun:
            self._begun = True
            with self._train_writer.as_default():
                for row in self._earlier:
                    if row["epoch"] <= epoch:  # later ones are repeated
                        for name in ("loss", "accuracy"):
                            if math.isfinite(value := row.get(name, math.nan)):
                                self.summary.scalar(f"epoch_{name}", value, step=int(row["epoch"]) - 1)
        super().on_epoch_begin(epoch, logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Writes an epoch so that it can be seen at once."""
        super().on_epoch_end(epoch, logs)
        self._train_writer.flush()


def _read_log(path: Path) -> list[dict[str, float]]:
    return [{name: float(value) for name, value in row.items()} for row in read_table(path)]
