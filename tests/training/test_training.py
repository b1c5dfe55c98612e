"""Training: best epoch, log, resume after kill -9, divergence, other backends."""

from __future__ import annotations

import contextlib
import csv
import importlib.util
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from support.paths import ROOT
from unlearning.errors import InputError
from unlearning.training import ShuffledBatches, TrainingDivergedError, TrainSettings, building_context, fit, train
from unlearning.training.batches import shift_and_mirror

SCRIPT = """
import os, sys, time
from pathlib import Path
import keras, numpy as np
from unlearning.training import ShuffledBatches, TrainSettings, fit, train

fit._WRITING_SHARE = float("inf")  # a backup after every epoch, however busy the machine is
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


def tiny_model() -> keras.Model:
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])


def tiny_data(rows: int = 40) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((rows, 4, 4, 1)).astype("float32"), rng.integers(0, 3, rows)


def read_log(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_best_epoch_is_kept(tmp_path: Path) -> None:
    """With a learning rate this large the loss bounces, so the last epoch is not the best."""
    images, labels = tiny_data()
    model, report = train(
        tiny_model(),
        ShuffledBatches(images, labels, batch_size=8),
        settings=TrainSettings(epochs=12, optimizer="sgd", learning_rate=2.0),
        checkpoint=tmp_path / "sub" / "best.keras",
        log=tmp_path / "log.csv",
    )
    losses = [float(row["loss"]) for row in read_log(tmp_path / "log.csv")]
    assert len(losses) == 12
    assert report.epochs_for_min == 1 + int(np.argmin(losses)) < 12
    assert report.train_loss == min(losses)
    stored = keras.saving.load_model(tmp_path / "sub" / "best.keras")
    for a, b in zip(stored.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["log.csv", "sub"]
    assert report.time > 0 and report.cpu_time_s > 0


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


@pytest.mark.parametrize("broken", ["pixel", "rate"])
def test_divergence_is_one_clear_error_and_writes_nothing(tmp_path: Path, broken: str) -> None:
    images, labels = tiny_data()
    rate = 1e-3
    if broken == "pixel":
        images[3] = np.nan
    else:
        rate = 1e38
    (tmp_path / "best.keras").write_text("precious")
    with pytest.raises(TrainingDivergedError, match="not finite"):
        train(
            tiny_model(),
            (images, labels),
            settings=TrainSettings(epochs=5, batch_size=8, learning_rate=rate, optimizer="sgd"),
            checkpoint=tmp_path / "best.keras",
            log=tmp_path / "log.csv",
            backup_dir=tmp_path / "backup",
        )
    assert [p.name for p in tmp_path.iterdir()] == ["best.keras"]
    assert (tmp_path / "best.keras").read_text() == "precious"


def test_tuples_and_validation_data_work(tmp_path: Path) -> None:
    data = tiny_data()
    _, report = train(
        tiny_model(),
        data,
        validation=data,
        settings=TrainSettings(epochs=2, monitor="val_loss", weight_decay=1e-3),
        checkpoint=tmp_path / "m.keras",
        log=tmp_path / "l.csv",
    )
    assert "val_accuracy" in report.history[0]


@keras.saving.register_keras_serializable("tests")
class Counting(keras.layers.Layer):
    """Counts how often training is traced."""

    traced = 0

    def call(self, x, training=False):
        Counting.traced += bool(training)
        return x


class TestTrainingAgain:
    """A model that is trained twice is traced once, and the second training knows nothing of the first."""

    def model(self) -> keras.Model:
        keras.utils.set_random_seed(0)
        layers = keras.layers
        return keras.Sequential(
            [keras.Input((4, 4, 1)), layers.Flatten(), layers.Dense(4), Counting(), layers.Dense(3)]
        )

    def train(self, model: keras.Model, folder: Path, rows: int, **settings: Any) -> list[np.ndarray]:
        files = {"checkpoint": folder / "m.keras", "log": folder / "l.csv"}
        batches = ShuffledBatches(*tiny_data(rows), batch_size=16)
        model.set_weights(self.model().get_weights())
        train(model, batches, settings=TrainSettings(epochs=2, **settings), **files)
        return model.get_weights()

    @pytest.mark.parametrize("schedule", ["constant", "cosine"])
    def test_from_the_start(self, tmp_path: Path, schedule: str) -> None:
        model = self.model()
        first = self.train(model, tmp_path, 64, schedule=schedule)
        Counting.traced = 0
        again = self.train(model, tmp_path, 64, schedule=schedule)
        assert Counting.traced == 0
        for one, other in zip(first, again, strict=True):
            np.testing.assert_array_equal(one, other)

    @pytest.mark.parametrize(
        ("rows", "first", "second"),
        [
            (64, {"learning_rate": 0.1}, {"learning_rate": 0.01}),
            (64, {}, {"optimizer": "sgd"}),
            (20, {"schedule": "cosine"}, {"schedule": "cosine"}),  # a schedule over fewer steps
        ],
    )
    def test_in_another_way(self, tmp_path: Path, rows: int, first: dict, second: dict) -> None:
        model = self.model()
        self.train(model, tmp_path, 64, **first)
        expected = self.train(self.model(), tmp_path, rows, **second)
        for one, other in zip(expected, self.train(model, tmp_path, rows, **second), strict=True):
            np.testing.assert_array_equal(one, other)

    def test_after_other_hands(self, tmp_path: Path) -> None:
        """Whoever compiled the model in between, or froze a layer, is not gone along with."""
        model = self.model()
        self.train(model, tmp_path, 64)
        expected = self.train(self.model(), tmp_path, 64)
        model.compile(optimizer="sgd", loss="mse")
        for one, other in zip(expected, self.train(model, tmp_path, 64), strict=True):
            np.testing.assert_array_equal(one, other)
        model.layers[-1].trainable = False
        frozen = self.train(model, tmp_path, 64)
        moved = [bool(np.any(one != other)) for one, other in zip(self.model().get_weights(), frozen, strict=True)]
        assert moved == [True, True, False, False]


class TestStepSchedule:
    @staticmethod
    def rates(tmp_path: Path, data, interrupt: int | None = None, **options) -> list[float]:
        """The learning rate of every step, also of a training that is interrupted and resumed."""
        seen: list[float] = []

        class Watch(keras.callbacks.Callback):
            def on_epoch_begin(self, epoch: int, logs=None) -> None:
                if epoch == interrupt:
                    raise KeyboardInterrupt

            def on_train_batch_begin(self, batch: int, logs=None) -> None:
                seen.append(float(self.model.optimizer.learning_rate))

        def run() -> None:
            train(
                tiny_model(),
                data,
                settings=TrainSettings(schedule="step", optimizer="sgd", **options),
                checkpoint=tmp_path / "m.keras",
                log=tmp_path / "l.csv",
                backup_dir=tmp_path / "backup",
                callbacks=[Watch()],
            )

        if interrupt is not None:
            with pytest.raises(KeyboardInterrupt):
                run()
            interrupt = None
        run()
        return seen

    @pytest.mark.parametrize("kind", ["tuple", "batches"])
    def test_the_rate_drops_after_exactly_so_many_epochs(
        self, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """40 rows in batches of 16 are 3 steps an epoch."""
        monkeypatch.setattr(fit, "_WRITING_SHARE", math.inf)  # or the interrupted run would repeat an epoch
        data = tiny_data()
        if kind == "batches":
            data = ShuffledBatches(*data, batch_size=16)
        options = {"batch_size": 16, "learning_rate": 0.01}
        for interrupt in (None, 3):
            rates = self.rates(tmp_path, data, interrupt, epochs=6, milestones=(2, 5), decay=0.5, **options)
            np.testing.assert_allclose(rates, [0.01] * 6 + [0.005] * 9 + [0.0025] * 3, rtol=1e-6)
        rates = self.rates(tmp_path, data, epochs=2, milestones=(100,), **options)
        np.testing.assert_allclose(rates, [0.01] * 6, rtol=1e-6)

    @pytest.mark.parametrize(
        ("options", "match"),
        [
            ({"schedule": "step"}, "milestones"),
            ({"milestones": (3,)}, "milestones"),
            ({"schedule": "step", "milestones": (0,)}, "ascending"),
            ({"schedule": "step", "milestones": (3, 3)}, "ascending"),
            ({"schedule": "step", "milestones": (3,), "decay": 0.0}, "decay"),
            ({"schedule": "step", "milestones": (3,), "decay": 1.5}, "decay"),
            ({"decay": 0.5}, "decay"),
            ({"nesterov": False}, "nesterov"),
        ],
    )
    def test_bad_settings(self, options: dict, match: str) -> None:
        with pytest.raises(InputError, match=match):
            TrainSettings(epochs=5, **options)


@pytest.mark.parametrize("nesterov", [True, False])
def test_momentum_and_weight_decay_are_what_the_docstring_says(tmp_path: Path, nesterov: bool) -> None:
    """Two steps on one batch against the update written out: decoupled decay, both kinds of momentum."""
    images, labels = tiny_data(16)
    rate, decay = 0.05, 0.3
    model, restated = tiny_model(), tiny_model()
    settings = TrainSettings(
        epochs=2,
        batch_size=16,
        learning_rate=rate,
        optimizer="sgd",
        nesterov=nesterov,
        weight_decay=decay,
        monitor="last",
    )
    model, _ = train(
        model, (images, labels), settings=settings, checkpoint=tmp_path / "m.keras", log=tmp_path / "l.csv"
    )
    flat = images.reshape(16, -1)
    weights = [np.array(w, dtype=np.float64) for w in restated.get_weights()]
    velocity = [np.zeros_like(w) for w in weights]
    for _ in range(2):
        scores = np.exp(flat @ weights[0] + weights[1])
        error = (scores / scores.sum(axis=1, keepdims=True) - np.eye(3)[labels]) / 16
        for i, gradient in enumerate((flat.T @ error, error.sum(axis=0))):
            weights[i] = weights[i] * (1 - rate * decay)
            velocity[i] = 0.9 * velocity[i] - rate * gradient
            weights[i] = weights[i] + (0.9 * velocity[i] - rate * gradient if nesterov else velocity[i])
    for found, expected in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)


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


def test_mixed_precision_builds_half_precision_layers() -> None:
    with building_context(mixed_precision=True):
        model = tiny_model()
    assert model.layers[-1].compute_dtype == "float16"
    assert keras.config.dtype_policy().name == "float32"


class TestShuffledBatches:
    def test_every_row_once_an_epoch_in_an_order_of_seed_and_epoch(self) -> None:
        images = np.arange(10, dtype=np.float32).reshape(10, 1, 1, 1)
        batches = ShuffledBatches(images, np.arange(10), batch_size=4, seed=3)
        epochs = []
        for _ in range(2):
            parts = [batches[i] for i in range(len(batches))]
            for x, y in parts:
                np.testing.assert_array_equal(x[:, 0, 0, 0], y)
            epochs.append(np.concatenate([y for _, y in parts]))
            batches.on_epoch_end()
        assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(10))
        assert list(epochs[0]) != list(epochs[1])
        again = ShuffledBatches(images, np.arange(10), batch_size=4, seed=3, epoch=1)
        np.testing.assert_array_equal(np.concatenate([again[i][1] for i in range(3)]), epochs[1])

    def test_augmentation_moves_pixels_and_is_repeatable(self) -> None:
        images = np.random.default_rng(0).integers(1, 255, (6, 9, 9, 3)).astype(np.uint8)
        options = {"batch_size": 6, "seed": 1, "augment": True}
        one, two = (ShuffledBatches(images, np.arange(6), **options)[0] for _ in range(2))
        np.testing.assert_array_equal(one[0], two[0])
        assert (one[0] != images[one[1]]).any() and one[0].dtype == np.uint8

    def test_shift_and_mirror_keeps_content(self) -> None:
        """Every output is one of the 81 shifts of the padded image, mirrored or not."""
        image = np.random.default_rng(1).integers(1, 255, (1, 5, 6, 1))
        padded = np.pad(image[0], ((4, 4), (4, 4), (0, 0)))
        options = [padded[i : i + 5, j : j + 6][:, ::s] for i in range(9) for j in range(9) for s in (1, -1)]
        seen = set()
        for seed in range(40):
            out = shift_and_mirror(image, np.random.default_rng(seed))[0]
            matches = [n for n, o in enumerate(options) if np.array_equal(o, out)]
            assert matches
            seen.add(matches[0])
        assert len(seen) > 20

    @pytest.mark.parametrize("options", [{"batch_size": 0}, {"labels": np.arange(3)}])
    def test_bad_input(self, options: dict) -> None:
        with pytest.raises(InputError):
            ShuffledBatches(np.zeros((4, 2, 2, 1)), options.pop("labels", np.arange(4)), **options)


@pytest.mark.parametrize("options", [{"epochs": 0}, {"batch_size": 0}, {"learning_rate": 0.0}, {"weight_decay": -1.0}])
def test_bad_settings(options: dict) -> None:
    with pytest.raises(InputError):
        TrainSettings(**{"epochs": 1, **options})


def test_architectures_and_training_import_no_tensorflow() -> None:
    for folder in ("architectures", "training"):
        for path in (ROOT / "unlearning" / folder).rglob("*.py"):
            top = [line for line in path.read_text().splitlines() if line.startswith(("import", "from"))]
            assert not [line for line in top if "tensorflow" in line], path


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_one_epoch_on_another_backend(tmp_path: Path, backend: str) -> None:
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"the {backend} package is not installed")
    code = (
        "import sys, numpy as np; from pathlib import Path\n"
        "from unlearning.architectures import build; from unlearning.training import *\n"
        "assert 'tensorflow' not in sys.modules  # Keras itself may import it later, where it is installed\n"
        "d = Path(sys.argv[1]); m = build('cnn_small', input_shape=(8, 8, 1), num_classes=3, seed=0)\n"
        "x, y = np.random.default_rng(0).integers(0, 256, (32, 8, 8, 1)).astype('uint8'), np.arange(32) % 3\n"
        "_, r = train(m, ShuffledBatches(x, y, batch_size=16), "
        "settings=TrainSettings(epochs=1), checkpoint=d / 'm.keras', log=d / 'l.csv')\n"
        "assert np.isfinite(r.train_loss)\n"
    )
    environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, env=environment)
    assert (tmp_path / "m.keras").is_file()


TWO_DEVICES = """
import sys
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

import contextlib
import pathlib
import keras
import numpy as np
import pytest
from unlearning.errors import InputError
from unlearning.training import ShuffledBatches, TrainSettings, train

rng = np.random.default_rng(0)
images, labels = rng.standard_normal((64, 4)).astype(np.float32), rng.integers(0, 3, 64)


def run(objective, interrupt=None, devices=("CPU:0", "CPU:1")):
    keras.utils.set_random_seed(0)
    with tf.distribute.MirroredStrategy(devices).scope() if devices else contextlib.nullcontext():
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    stop = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: 1 / (epoch != interrupt))
    folder = pathlib.Path(sys.argv[1])
    train(model, ShuffledBatches(images, labels, batch_size=16), backup_dir=folder / "backup", callbacks=[stop],
          settings=TrainSettings(epochs=4, objective=objective, learning_rate=0.01),
          checkpoint=folder / "m.keras", log=folder / "l.csv")
    return model.get_weights()


one = run("cross-entropy", devices=("CPU:0",))
two = run("cross-entropy")
with pytest.raises(ZeroDivisionError):
    run("cross-entropy", interrupt=2)
assert list(pathlib.Path(sys.argv[1], "backup").glob("state-000002*"))
for alone, both, resumed in zip(one, two, run("cross-entropy"), strict=True):
    np.testing.assert_allclose(both, alone, atol=1e-5)
    np.testing.assert_allclose(resumed, both, atol=1e-6)
with pytest.raises(InputError, match="2 replicas"):
    run("sam")
run("sam", devices=None)
"""


def test_two_devices_train_as_one_does(tmp_path: Path) -> None:
    """Each gets half of every batch; several GPUs are simulated by processors."""
    subprocess.run([sys.executable, "-c", TWO_DEVICES, str(tmp_path)], check=True, cwd=ROOT)
