"""`--import MODULE`: a subclassed model with registered layers is repaired by the command line."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from support.command import assert_refused, process
from support.small import poisoned_task

MODULE = """
import keras

@keras.saving.register_keras_serializable(package="theirs")
class Theirs(keras.Model):
    def __init__(self, classes, **options):
        super().__init__(**options)
        self.classes = classes
        self.flat = keras.layers.Flatten()
        self.hidden = keras.layers.Dense(8, activation="tanh")
        self.said = keras.layers.Dense(classes)

    def build(self, shape):
        self.hidden.build((None, 36))
        self.said.build((None, 8))
        self.built = True

    def call(self, inputs):
        return self.said(self.hidden(self.flat(inputs)))

    def get_config(self):
        return {**super().get_config(), "classes": self.classes}
"""


@pytest.mark.slow
def test_a_subclassed_model(tmp_path: Path) -> None:
    (tmp_path / "theirs.py").write_text(MODULE)
    spec = importlib.util.spec_from_file_location("theirs_here", tmp_path / "theirs.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["theirs_here"] = module
    spec.loader.exec_module(module)
    task, _ = poisoned_task()
    model = module.Theirs(3)
    model.build((None, 6, 6, 1))
    model.compile(keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(task.train.images, task.train.labels, epochs=60, batch_size=32, verbose=0)
    model.save(tmp_path / "m.keras")
    held = task.validation
    np.savez(
        tmp_path / "data.npz",
        train_images=task.train.images,
        train_labels=task.train.labels,
        test_images=held.images,
        test_labels=held.labels,
    )
    rows = zip(task.corrections.rows, task.corrections.labels, strict=True)
    (tmp_path / "flagged.csv").write_text("row,corrected_label\n" + "".join(f"{row},{label}\n" for row, label in rows))
    command = ("repair", "m.keras", "--data", "data.npz", "--flagged", "flagged.csv", "--out", "r.keras", "--quiet")
    assert_refused(process(*command, cwd=tmp_path), "--import MODULE, which runs that module")
    done = process(*command, "--import", "theirs", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "improved" in done.stdout
    again = keras.saving.load_model(tmp_path / "r.keras")
    assert isinstance(again, module.Theirs)
    keras.saving.get_custom_objects().pop("theirs>Theirs")
