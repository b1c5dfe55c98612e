"""Shared fixtures, and a quiet TensorFlow."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # test processes share the cores; waiting threads would spin

from unlearning.startup import import_tensorflow

# ruff: noqa: E402
import_tensorflow()  # before Keras does: test processes of pytest-xdist would show its start-up messages

import keras
import pytest


@pytest.fixture
def float64():
    """Runs a test with float64 Keras variables and activations."""
    # The policy first: Keras makes it when it is asked for, from what floats are by then.
    before, policy = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_floatx(before)
    keras.config.set_dtype_policy(policy)
