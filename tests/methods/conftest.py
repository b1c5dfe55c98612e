"""A trained network whose labels are partly wrong."""

from __future__ import annotations

import keras
import pytest

from support.small import fitted, poisoned_task, small_model
from unlearning.task import UnlearningTask


@pytest.fixture(scope="module")
def poisoned() -> tuple[keras.Model, UnlearningTask]:
    task, _ = poisoned_task()
    return fitted(small_model(hidden=16), task.train, at_once=False), task


@pytest.fixture(scope="module")
def dropping(poisoned) -> tuple[keras.Model, UnlearningTask]:
    """The same with a layer that draws whenever it is trained."""
    model, task = poisoned
    *lower, last = model.layers
    with_dropout = keras.Sequential([keras.Input((6, 6, 1)), *lower, keras.layers.Dropout(0.3), last])
    return keras.models.clone_model(with_dropout), task
