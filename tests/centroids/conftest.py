"""A trained network whose labels are partly wrong."""

from __future__ import annotations

import keras
import pytest

from support.centroids import plain_model
from support.small import fitted, poisoned_task
from unlearning.task import UnlearningTask


@pytest.fixture(scope="module")
def poisoned() -> tuple[keras.Model, UnlearningTask]:
    task, _ = poisoned_task()
    return fitted(plain_model(), task.train), task
