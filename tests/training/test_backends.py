"""Training on other backends and on several devices."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.paths import ROOT


@pytest.mark.slow
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


@pytest.mark.slow
def test_two_devices_train_as_one_does(tmp_path: Path) -> None:
    """Each gets half of every batch; several GPUs are simulated by processors."""
    subprocess.run([sys.executable, "-c", TWO_DEVICES, str(tmp_path)], check=True, cwd=ROOT)
