"""A training that was killed ends as an undisturbed one."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest

from support.paths import ROOT
from support.training import (
    read_log,
    tiny_data,
    tiny_model,
)
from unlearning.training import (
    ShuffledBatches,
    TrainSettings,
    building_context,
    train,
)

SCRIPT = """
import os, sys, time
from pathlib import Path
import keras, numpy as np
from unlearning.training import ShuffledBatches, TrainSettings, backup, train

backup.WRITING_SHARE = float("inf")  # a backup after every epoch, however busy the machine is
keras.utils.set_random_seed(0)
model = keras.Sequential([
    keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(8, "relu"), keras.layers.Dropout(0.3),
    keras.layers.BatchNormalization(), keras.layers.Dense(3)])
rng = np.random.default_rng(0)
images, labels = rng.standard_normal((64, 4, 4, 1)).astype("float32"), rng.integers(0, 3, 64)

class Slow(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        print("epoch", epoch, flush=True)
        time.sleep(float(sys.argv[2]))

folder = Path(sys.argv[1])
_, report = train(model, ShuffledBatches(images, labels, batch_size=16, seed=1),
    settings=TrainSettings(epochs=8, batch_size=16, schedule=sys.argv[3]), checkpoint=folder / "best.keras",
    log=folder / "log.csv", backup_dir=folder / "backup", callbacks=[Slow()], seed=5)
np.savez(folder / "weights.npz", *model.get_weights())
print("epochs logged", [r["epoch"] for r in report.history])
"""


@pytest.mark.slow
@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_a_killed_training_resumes_to_the_same_weights(tmp_path: Path, schedule: str) -> None:
    def start(folder: Path, delay: float) -> subprocess.Popen:
        folder.mkdir(exist_ok=True)
        return subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(folder), str(delay), schedule],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )

    undisturbed = start(tmp_path / "a", 0)
    killed = start(tmp_path / "b", 0.4)
    assert killed.stdout is not None
    for line in killed.stdout:
        if line.strip() == "epoch 4":
            time.sleep(0.2)
            killed.send_signal(signal.SIGKILL)
            break
    killed.wait()
    assert not (tmp_path / "b" / "best.keras").exists() and not (tmp_path / "b" / "log.csv").exists()
    out, err = undisturbed.communicate()
    assert undisturbed.returncode == 0, err
    resumed = start(tmp_path / "b", 0)
    out, err = resumed.communicate()
    assert resumed.returncode == 0, err
    assert out.splitlines()[0] == "epoch 4", "it should continue where it was killed"
    with np.load(tmp_path / "a" / "weights.npz") as a, np.load(tmp_path / "b" / "weights.npz") as b:
        for name in a.files:
            np.testing.assert_array_equal(a[name], b[name])
    logs = [read_log(tmp_path / n / "log.csv") for n in ("a", "b")]
    assert [row["epoch"] for row in logs[1]] == [str(e) for e in range(1, 9)]
    assert [row["loss"] for row in logs[0]] == [row["loss"] for row in logs[1]]
    assert not (tmp_path / "b" / "backup").exists()


@pytest.mark.parametrize("objective", ["mixup", "sam", "mentornet", "mentormix"])
def test_objectives_resume_to_the_same_weights(tmp_path: Path, objective: str) -> None:
    """Blends, thresholds and coin tosses, too, depend on seed and epoch alone."""

    class Interrupt(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs=None) -> None:
            if epoch == 3:
                raise KeyboardInterrupt

    def run(name: str, *callbacks: keras.callbacks.Callback):
        images, labels = tiny_data()
        return train(
            tiny_model(),
            ShuffledBatches(images, labels, batch_size=8, seed=5),
            settings=TrainSettings(epochs=5, objective=objective, monitor="last"),
            checkpoint=tmp_path / f"{name}.keras",
            log=tmp_path / f"{name}.csv",
            backup_dir=tmp_path / name,
            seed=5,
            callbacks=callbacks,
        )

    whole, report = run("a")
    with pytest.raises(KeyboardInterrupt):
        run("b", Interrupt())
    resumed, again = run("b")
    assert report.epochs_for_min == again.epochs_for_min == 5
    assert [row["loss"] for row in report.history] == [row["loss"] for row in again.history]
    for a, b in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert keras.saving.load_model(tmp_path / "b.keras").count_params() == whole.count_params()


def test_a_backup_under_mixed_precision_holds_the_scale_of_the_loss(tmp_path: Path) -> None:
    """The optimizer that Keras wraps around ours counts steps and scales the loss; a resumed run goes on from there."""

    class Watch(keras.callbacks.Callback):
        def __init__(self, stop: int) -> None:
            super().__init__()
            self.stop = stop

        def on_epoch_begin(self, epoch: int, logs=None) -> None:
            if epoch == self.stop:
                raise KeyboardInterrupt
            if epoch == 0:
                self.model.optimizer.dynamic_scale.assign(64.0)
            self.seen = [float(self.model.optimizer.step_counter), float(self.model.optimizer.dynamic_scale)]

    def run(stop: int) -> list[float]:
        with building_context(mixed_precision=True):
            model = tiny_model()
        files = {"checkpoint": tmp_path / "m.keras", "log": tmp_path / "l.csv", "backup_dir": tmp_path / "backup"}
        batches = ShuffledBatches(*tiny_data(), batch_size=16)
        watch = Watch(stop)
        with contextlib.suppress(KeyboardInterrupt):
            train(model, batches, settings=TrainSettings(epochs=3), callbacks=[watch], **files)
        return watch.seen

    run(stop=2)
    assert list((tmp_path / "backup").glob("state-000002*"))
    assert run(stop=-1) == [6.0, 64.0]  # two epochs of three steps


class _Interrupt(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch: int, logs=None) -> None:
        if epoch == 2:
            raise KeyboardInterrupt


def _halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    "damage",
    [
        lambda backup: _halve(backup / "state-000002.weights.h5"),
        lambda backup: (backup / "state-000009.weights.h5").write_bytes(b""),
        lambda backup: [path.write_bytes(bytes(path.stat().st_size)) for path in backup.glob("best-*")],
        lambda backup: (backup / "log.csv").write_text("epoch,loss,seconds\n1,0.5,1\n"),
    ],
    ids=["half", "later", "zeros", "short log"],
)
def test_a_backup_that_cannot_be_read_is_dropped(tmp_path: Path, damage, caplog) -> None:
    """As after a power cut: one line says so, and the training ends as one that was never interrupted."""

    def run(name: str, *callbacks: keras.callbacks.Callback) -> list[np.ndarray]:
        folder = tmp_path / name
        model, _ = train(
            tiny_model(),
            ShuffledBatches(*tiny_data(), batch_size=16, seed=5),
            settings=TrainSettings(epochs=3),
            checkpoint=folder / "m.keras",
            log=folder / "l.csv",
            backup_dir=folder / "backup",
            callbacks=callbacks,
        )
        return model.get_weights()

    with contextlib.suppress(KeyboardInterrupt):
        run("b", _Interrupt())
    assert (tmp_path / "b/backup/state-000002.weights.h5").exists()
    damage(tmp_path / "b/backup")
    resumed = run("b")
    assert [r.message.count("cannot be read; training starts over") for r in caplog.records] == [1]
    for a, b in zip(run("a"), resumed, strict=True):
        np.testing.assert_array_equal(a, b)
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == ["l.csv", "m.keras"]
