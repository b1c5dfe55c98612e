"""A trained network whose labels are partly wrong, and predictions without tracing."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from support.small import fitted, poisoned_task, small_model
from unlearning.interop import inference_arguments
from unlearning.task import UnlearningTask


@pytest.fixture(autouse=True)
def eager_predict(monkeypatch) -> None:
    """Spares tiny networks the tracing of a graph; a test inside a real `fit` overrides this."""

    def predict_eagerly(self, x, batch_size=None, verbose=0) -> np.ndarray:
        images = np.concatenate([*x.as_numpy_iterator()]) if isinstance(x, tf.data.Dataset) else np.asarray(x)
        return np.asarray(self(images, **inference_arguments(self)))

    monkeypatch.setattr(keras.Model, "predict", predict_eagerly)
    monkeypatch.setattr(keras.Model, "predict_on_batch", predict_eagerly)


@pytest.fixture(scope="module")
def poisoned() -> tuple[keras.Model, UnlearningTask]:
    task, _ = poisoned_task()
    return fitted(small_model(hidden=16), task.train), task
