"""What is repaired with TensorFlow is used with JAX and PyTorch; what needs TensorFlow says so in one line."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from support.paths import ROOT
from support.small import fitted, poisoned_task, small_model
from unlearning import repair

SCRIPT = """
import keras, numpy as np, sys
from pathlib import Path
from unlearning import detect, load_model, repair
from unlearning.errors import InputError
from unlearning.evaluation import accuracy, predict
from unlearning.task import Split

folder = Path(sys.argv[1])
data = np.load(folder / "rows.npz")
rows = Split(data["images"], data["labels"])
model = load_model(folder / "repaired.keras")
np.testing.assert_allclose(predict(model, rows.images), data["said"], atol=1e-4)
for refused in (lambda: repair(model, rows, flagged={0: -1}), lambda: detect(model, rows)):
    try:
        refused()
    except InputError as error:
        assert "\\n" not in str(error) and "needs TensorFlow, and Keras computes with" in str(error), error
    else:
        raise AssertionError("not refused")
before = accuracy(model, rows)
model.compile(keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
model.fit(rows.images, rows.labels, epochs=3, batch_size=32, verbose=0)
model.save(folder / "trained.keras")
print(keras.backend.backend(), before, accuracy(model, rows))
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_a_repaired_model_predicts_and_trains(backend: str, tmp_path: Path) -> None:
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"the {backend} package is not installed")
    task, _ = poisoned_task()
    done = repair(fitted(small_model(), task.train), task.train, flagged=task.corrections, validation=task.validation)
    done.model.save(tmp_path / "repaired.keras")
    rows = task.validation
    said = done.model.predict(rows.images, verbose=0)
    np.savez(tmp_path / "rows.npz", images=rows.images, labels=rows.labels, said=said)
    environment = {**os.environ, "KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], capture_output=True, text=True, env=environment, cwd=tmp_path
    )
    assert ran.returncode == 0, ran.stderr
    used, before, after = ran.stdout.split()[-3:]
    assert used == backend and float(before) == pytest.approx(np.mean(said.argmax(-1) == rows.labels))
    assert float(after) >= float(before) - 0.05
    assert (tmp_path / "trained.keras").is_file()
