"""One training run: `model.fit` with a checkpoint, a CSV log, and a backup that survives `kill -9`.

The checkpoint keeps the weights of the epoch with the lowest monitored value (the training loss by default, as the
published experiments do). Everything a resumed run needs stands in the backup folder: weights and optimizer after one
of the last finished epochs, the best weights so far, and the log. Only a finished run writes the checkpoint and log.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras

from unlearning import feeding
from unlearning.errors import InputError
from unlearning.interop import on_all_gpus, save_model
from unlearning.progress import progress_bar, pulse
from unlearning.training.backup import Keeper, write_log
from unlearning.training.compiling import compile_model
from unlearning.training.objectives import registry as objectives
from unlearning.training.settings import TrainSettings


class TrainingDivergedError(InputError):
    """The training loss stopped being a number."""


@dataclasses.dataclass(frozen=True)
class TrainReport:
    """What a training run did.

    Attributes:
        epochs_for_min: The best epoch, counted from 1.
        train_loss: The training loss logged there.
        time: Wall-clock seconds of all epochs, interrupted runs included.
        cpu_time_s: Process CPU seconds of the same; unlike `time` it barely depends on what else the machine does.
        history: One mapping an epoch: the rows of the log.
    """

    epochs_for_min: int
    train_loss: float
    time: float
    cpu_time_s: float
    history: Sequence[dict[str, float]]


@contextlib.contextmanager
def building_context(mixed_precision: bool = False, objective: str = "cross-entropy") -> Iterator[None]:
    """Builds what is built inside with the right precision, and on all GPUs where there are several and it can be.

    Args:
        mixed_precision: Whether layers compute in float16.
        objective: What the model is to be trained for; those that take steps of their own get one GPU.
    """
    policy = keras.config.dtype_policy()
    with contextlib.ExitStack() as stack:
        if mixed_precision:
            keras.config.set_dtype_policy("mixed_float16")
            stack.callback(keras.config.set_dtype_policy, policy)
        if not objectives.OBJECTIVES.load(objective).one_device:
            stack.enter_context(on_all_gpus())
        yield


def train(
    model: keras.Model,
    data: Any,
    *,
    settings: TrainSettings,
    checkpoint: Path,
    log: Path,
    validation: Any = None,
    backup_dir: Path | None = None,
    seed: int = 0,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> tuple[keras.Model, TrainReport]:
    """Trains a model and stores its best epoch.

    Args:
        model: A model with logit outputs; it is compiled here. One that comes again, to be trained in the same way from
            other weights, keeps its traced step (seconds for a small network) and gets a fresh optimizer state.
        data: Whatever `model.fit` takes: `(images, labels)`, a `PyDataset` such as `ShuffledBatches`, a
            `tf.data.Dataset`.
        settings: How to train.
        checkpoint: Where the best weights go, as a `.keras` file; replaced only when training has finished.
        log: Where the CSV log goes: one row an epoch.
        validation: Validation data for `model.fit`, or None.
        backup_dir: Folder for what an interrupted run leaves behind; a run that finds it resumes. None: no resuming.
        seed: Seeds what is random inside the model (dropout), epoch by epoch.
        callbacks: More callbacks.

    Returns:
        The model with the weights of the best epoch, and the report.

    Raises:
        TrainingDivergedError: If the loss is no longer finite; checkpoint and log stay as they were.
    """
    if backup_dir is not None:
        backup_dir.mkdir(parents=True, exist_ok=True)
    objective = objectives.get(settings.objective, settings.objective_options)
    ready = objective.prepare(model, data, num_classes=model.output_shape[-1], epochs=settings.epochs, seed=seed)
    fitted, data = ready.model, ready.data  # shares its layers with `model`, which is what is stored
    compile_model(fitted, data, settings, ready.loss)
    keeper = Keeper(backup_dir, settings, seed, data)
    options = {
        "epochs": settings.epochs,
        "initial_epoch": keeper.restore(fitted),
        "callbacks": [keeper, _Bar(settings.epochs), *callbacks],
        "validation_data": validation,
    }
    if isinstance(data, tuple):
        fitted.fit(*data, batch_size=settings.batch_size, verbose=0, **options)
    else:
        feeding.fit(fitted, data, **options)
    if keeper.diverged:
        keeper.discard()
        raise TrainingDivergedError(
            f"Training diverged in epoch {len(keeper.rows) + 1}: the loss is not finite. "
            "Lower the learning rate, or look for non-finite pixels."
        )
    fitted.set_weights(keeper.best_weights)
    save_model(model, checkpoint)
    write_log(log, keeper.rows)
    keeper.discard()
    report = TrainReport(
        epochs_for_min=int(keeper.best["epoch"]),
        train_loss=keeper.best["loss"],
        time=sum(row["seconds"] for row in keeper.rows),
        cpu_time_s=sum(row["cpu_seconds"] for row in keeper.rows),
        history=tuple(keeper.rows),
    )
    return model, report


class _Bar(keras.callbacks.Callback):
    """Counts the epochs, and gives a sign of life a batch."""

    def __init__(self, epochs: int) -> None:
        super().__init__()
        self._epochs = epochs

    def on_train_begin(self, logs: Any = None) -> None:
        self._bar = progress_bar(total=self._epochs, description="training", unit="epoch")

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        pulse()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._bar.update(epoch + 1 - self._bar.done)

    def on_train_end(self, logs: Any = None) -> None:
        self._bar.close()
