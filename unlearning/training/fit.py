"""One training run: `model.fit` with a checkpoint, a CSV log, and a backup that survives `kill -9`.

The checkpoint keeps the weights of the epoch with the lowest monitored value (the training loss by default, as the
published experiments do). Everything a resumed run needs stands in the backup folder: weights and optimizer after one
of the last finished epochs, the best weights so far, and the log. Only a finished run writes the checkpoint and log.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import itertools
import logging
import math
import os
import shutil
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np

from unlearning import feeding
from unlearning.errors import InputError, invalid
from unlearning.progress import progress_bar
from unlearning.training.objectives import ONE_DEVICE, check_objective, prepare

logger = logging.getLogger(__name__)

_WRITING_SHARE = 0.05


class TrainingDivergedError(InputError):
    """The training loss stopped being a number."""


@dataclasses.dataclass(frozen=True)
class TrainSettings:
    """How to train.

    Attributes:
        epochs: Passes over the data.
        batch_size: Rows a step (used by whoever makes the batches).
        learning_rate: Peak learning rate.
        optimizer: `"adam"` (with AMSGrad, as the published CNN experiments) or `"sgd"` (momentum 0.9).
        schedule: `"constant"`, `"cosine"` decay to zero, or `"step"`: times `decay` at each milestone.
        weight_decay: Decoupled weight decay, as everywhere in Keras: weights shrink by `learning_rate * weight_decay` a
            step. Most published SGD recipes add `weight_decay * weight` to the gradient instead, which momentum 0.9
            amplifies about tenfold, so that the same number decays weights less here.
        augment: Random shifts and mirroring (used by whoever makes the batches).
        mixed_precision: float16 arithmetic with float32 weights (used where the model is built).
        monitor: The logged value whose minimum marks the best epoch, or `"last"` for the last epoch.
        objective: What is minimised; see `unlearning.training.objectives`.
        objective_options: Its options, by name.
        milestones: Numbers of finished epochs after which the learning rate drops, ascending (`"step"` only).
        decay: What the learning rate is multiplied with at each of them.
        nesterov: Whether the momentum of `"sgd"` looks ahead.
    """

    epochs: int
    batch_size: int = 128
    learning_rate: float = 1e-3
    optimizer: Literal["adam", "sgd"] = "adam"
    schedule: Literal["constant", "cosine", "step"] = "constant"
    weight_decay: float = 0.0
    augment: bool = False
    mixed_precision: bool = False
    monitor: str = "loss"
    objective: str = "cross-entropy"
    objective_options: Mapping[str, float] = dataclasses.field(default_factory=dict)
    milestones: Sequence[int] = ()
    decay: float = 0.1
    nesterov: bool = True

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise invalid(name, "a positive integer", getattr(self, name))
        if not 0 < self.learning_rate < math.inf:
            raise invalid("learning_rate", "a positive float", self.learning_rate)
        if not 0 <= self.weight_decay < math.inf:
            raise invalid("weight_decay", "a float of at least 0", self.weight_decay)
        if (self.schedule == "step") != bool(self.milestones):
            expected = "with the schedule 'step', and only with it"
            raise invalid("milestones", expected, f"{list(self.milestones)} with {self.schedule!r}")
        if any(later <= earlier for earlier, later in itertools.pairwise((0, *self.milestones))):
            raise invalid("milestones", "ascending positive numbers of epochs", list(self.milestones))
        if not 0 < self.decay <= 1:
            raise invalid("decay", "a float in (0, 1]", self.decay)
        if self.schedule != "step" and self.decay != TrainSettings.decay:
            raise invalid("decay", "its default without the schedule 'step'", self.decay)
        if self.optimizer != "sgd" and not self.nesterov:
            raise invalid("nesterov", "its default without the optimizer 'sgd'", self.nesterov)
        check_objective(self.objective, self.objective_options)


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
        objective: What the model is to be trained for; those of `ONE_DEVICE` get one GPU.
    """
    policy = keras.config.dtype_policy()
    with contextlib.ExitStack() as stack:
        if mixed_precision:
            keras.config.set_dtype_policy("mixed_float16")
            stack.callback(keras.config.set_dtype_policy, policy)
        if keras.backend.backend() == "tensorflow" and objective not in ONE_DEVICE:
            import tensorflow as tf  # only here: the rest of this module runs on any backend

            if len(tf.config.list_physical_devices("GPU")) > 1:
                stack.enter_context(tf.distribute.MirroredStrategy().scope())
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
    ready = prepare(
        settings.objective,
        model,
        data,
        num_classes=model.output_shape[-1],
        epochs=settings.epochs,
        seed=seed,
        options=settings.objective_options,
    )
    fitted, data = ready.model, ready.data  # shares its layers with `model`, which is what is stored
    _compile(fitted, data, settings, ready.loss)
    keeper = _Keeper(backup_dir, settings, seed, data)
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
        if backup_dir is not None:
            _discard(backup_dir)
        raise TrainingDivergedError(
            f"Training diverged in epoch {len(keeper.rows) + 1}: the loss is not finite. "
            "Lower the learning rate, or look for non-finite pixels."
        )
    fitted.set_weights(keeper.best_weights)
    _replace(checkpoint, model.save)
    _replace(log, lambda name: _write_csv(Path(name), keeper.rows))
    if backup_dir is not None:
        _discard(backup_dir)
    report = TrainReport(
        epochs_for_min=int(keeper.best["epoch"]),
        train_loss=keeper.best["loss"],
        time=sum(row["seconds"] for row in keeper.rows),
        cpu_time_s=sum(row["cpu_seconds"] for row in keeper.rows),
        history=tuple(keeper.rows),
    )
    return model, report


class OptimizerStart:
    """What a built optimizer's variables are before the first step, to start again from there.

    Args:
        optimizer: A built optimizer that has taken no step.
    """

    def __init__(self, optimizer: keras.optimizers.Optimizer) -> None:
        self._optimizer = optimizer
        # Learning rate, number of steps, scale of the loss. The others, as large as the weights, are moments: zero.
        self._scalars = [v.numpy() if v.shape == () else None for v in optimizer.variables]

    def restore(self) -> None:
        """Puts every variable back."""
        for variable, scalar in zip(self._optimizer.variables, self._scalars, strict=True):
            variable.assign(keras.ops.zeros_like(variable) if scalar is None else scalar)


_COMPILED: weakref.WeakKeyDictionary[keras.Model, tuple[Any, keras.optimizers.Optimizer, OptimizerStart]]
_COMPILED = weakref.WeakKeyDictionary()


def _compile(model: keras.Model, data: Any, settings: TrainSettings, loss: keras.losses.Loss) -> None:
    rate: Any = settings.learning_rate
    batches = 0  # nobody asks
    if settings.schedule != "constant":
        batches = -(-len(data[0]) // settings.batch_size) if isinstance(data, tuple) else len(data)
    wanted = settings, batches, [id(variable) for variable in model.trainable_variables]
    if model in _COMPILED:
        earlier, optimizer, start = _COMPILED[model]
        if earlier == wanted and model.optimizer is optimizer:
            start.restore()
            return
    if settings.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(settings.learning_rate, settings.epochs * batches)
    elif settings.schedule == "step":
        # A boundary is the last step (from 0) with the earlier value.
        rate = keras.optimizers.schedules.PiecewiseConstantDecay(
            [epochs * batches - 1 for epochs in settings.milestones],
            [settings.learning_rate * settings.decay**drops for drops in range(len(settings.milestones) + 1)],
        )
    decay = settings.weight_decay or None
    strategy = getattr(model, "distribute_strategy", None)  # of TensorFlow's models on several devices
    with contextlib.nullcontext() if strategy is None else strategy.scope():
        if settings.optimizer == "adam":
            optimizer = keras.optimizers.Adam(rate, amsgrad=True, weight_decay=decay)
        else:
            optimizer = keras.optimizers.SGD(rate, momentum=0.9, nesterov=settings.nesterov, weight_decay=decay)
        # A step that creates variables would be traced twice; "accuracy" as text creates its own in the first step, and
        # the optimizer does, into which, besides, a backup is loaded. With mixed precision, Keras wraps the optimizer.
        one_hot = isinstance(loss, keras.losses.CategoricalCrossentropy)
        metric = keras.metrics.CategoricalAccuracy if one_hot else keras.metrics.SparseCategoricalAccuracy
        model.compile(optimizer=optimizer, loss=loss, metrics=[metric(name="accuracy")])
        model.optimizer.build(model.trainable_variables)
    _COMPILED[model] = wanted, model.optimizer, OptimizerStart(model.optimizer)


def _replace(target: Path, write: Callable[[str], Any]) -> None:
    """Writes under a temporary name in the same folder and moves the whole file into place."""
    target.parent.mkdir(parents=True, exist_ok=True)
    name = target.with_name(f".partial-{os.getpid()}-{target.name}")
    try:
        write(str(name))
        os.replace(name, target)
    except BaseException:
        name.unlink(missing_ok=True)
        raise


def _discard(backup: Path) -> None:
    """Removes a backup at once: one that a kill left half removed could not be resumed from."""
    name = backup.with_name(f".partial-{os.getpid()}-{backup.name}")
    os.replace(backup, name)
    shutil.rmtree(name, ignore_errors=True)


def _write_csv(path: Path, rows: Sequence[dict[str, float]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


class _Keeper(keras.callbacks.Callback):
    """Keeps the best weights, and all that a resumed run needs in a folder; stops on a loss that is not a number.

    The folder is written after the first two epochs (the first writing is slow, for its imports) and then whenever the
    last writing took less than `_WRITING_SHARE` of the time since: short epochs are not spent on writing.

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
        """Puts a model (and its optimizer) where the interrupted run left it; returns the number of finished epochs."""
        states = sorted(self._folder.glob("state-*.weights.h5")) if self._folder else []
        if self._folder is None or not states:
            return 0
        finished = int(states[-1].name.split("-")[1].split(".")[0])
        with (self._folder / "log.csv").open(newline="") as file:
            rows = [{k: int(v) if k == "epoch" else float(v) for k, v in row.items()} for row in csv.DictReader(file)]
        # A row beyond the last state is of an epoch that was killed before it was complete.
        self.rows = rows[:finished]
        model.load_weights(self._best_file(self._folder))
        self.best_weights = model.get_weights()
        model.load_weights(states[-1])
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
        # All that is random in an epoch depends on seed and epoch alone: a resumed run repeats what it would have done.
        if hasattr(self._data, "start_at"):
            self._data.start_at(epoch)
        for number, layer in enumerate([*self.model.layers, self.model]):
            generator = getattr(layer, "seed_generator", None)
            if generator is not None:
                state = np.random.SeedSequence((self._seed, epoch, number)).generate_state(2)
                generator.state.assign(state.astype(generator.state.dtype))
        self._clock = time.perf_counter(), time.process_time()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if logs and not np.isfinite(logs.get("loss", 0.0)):
            self.diverged = True
            self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if self.diverged or not np.isfinite(logs["loss"]):
            self.diverged = True
            self.model.stop_training = True
            return
        if self._monitor not in (*logs, "last"):
            raise invalid("monitor", f"last, or one of {', '.join(logs)}", self._monitor)
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
        due = finished <= 2 or self._cost <= _WRITING_SHARE * (now - self._written)
        if self._folder is not None and finished < self._epochs and due:
            self._write(self._folder, finished)
            self._written = time.perf_counter()
            self._cost = self._written - now

    def _write(self, folder: Path, finished: int) -> None:
        best = self._best_file(folder)
        if not best.exists():
            _replace(best, lambda name: self._write_best(name, finished))
        _replace(folder / "log.csv", lambda name: _write_csv(Path(name), self.rows))
        state = folder / f"state-{finished:06d}.weights.h5"
        _replace(state, self.model.save_weights)
        for old in folder.glob("*.weights.h5"):
            if old not in (state, best):
                old.unlink()

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


class _Bar(keras.callbacks.Callback):
    """One progress bar over the epochs."""

    def __init__(self, epochs: int) -> None:
        super().__init__()
        self._epochs = epochs

    def on_train_begin(self, logs: Any = None) -> None:
        self._bar = progress_bar(total=self._epochs, description="training", unit="epoch")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._bar.update(epoch + 1 - self._bar.n)
        self._bar.set_postfix({k: f"{v:.3f}" for k, v in (logs or {}).items()})

    def on_train_end(self, logs: Any = None) -> None:
        self._bar.close()
