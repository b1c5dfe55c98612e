"""Models that learned wrong labels, trained once for all tests of detectors."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from support.detection import FLIPS, digit_model, digits
from support.small import fitted, poisoned_task, small_model
from unlearning.task import Split


@pytest.fixture(scope="session")
def planted() -> tuple[keras.Model, Split, np.ndarray]:
    """A model trained for a few epochs on 400 rows, of which the first 80 are mislabelled; and the true labels."""
    task, true = poisoned_task(rows=400, flips=FLIPS)
    return fitted(small_model(), task.train, epochs=15), task.train, true


@pytest.fixture(scope="session")
def memorised() -> tuple[keras.Model, Split, np.ndarray]:
    """A network that has learned wrong digits by heart, its rows, and the true labels."""
    split, true = digits()
    model = digit_model()
    return fitted(model, split, epochs=60), split, true
