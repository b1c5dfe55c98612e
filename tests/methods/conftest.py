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
