"""Shared fixtures, and a quiet TensorFlow."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # test processes share the cores; waiting threads would spin

import gc
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.command import TINY, cli
from support.shared import once
from unlearning.startup import import_tensorflow


def pytest_configure(config: pytest.Config) -> None:
    """Imports TensorFlow before Keras does: test processes of pytest-xdist would show its start-up messages.

    Not in the process that waits for these: they start when it is done.
    """
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", None):
        import_tensorflow()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Notebooks come first: the longest tests last would leave one process alone with them."""
    items.sort(key=lambda item: item.path.name != "test_notebooks.py")


def pytest_collection_finish() -> None:
    """Spares every later collection of garbage the half million objects of the libraries, and makes it rare."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


@pytest.fixture(autouse=True)
def _as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Puts back what commands that run in this process set for the whole of it."""
    library = logging.getLogger("unlearning")
    before = library.handlers, library.level, library.propagate
    variables = dict(os.environ)
    yield
    library.handlers, library.propagate = before[0], before[2]
    library.setLevel(before[1])
    if os.environ != variables:
        os.environ.clear()
        os.environ.update(variables)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Path:
    """A finished tiny experiment, `TINY`, and beside it in `out` what its command said; tests that write copy it."""

    def make(folder: Path) -> None:
        folder.mkdir()
        done = cli("run", *TINY, "--out", "e", cwd=folder)
        assert done.returncode == 0, done.stderr
        (folder / "out").write_text(done.stdout)

    return once(tmp_path_factory, "tiny", make) / "e"


@pytest.fixture
def float64():
    """Runs a test with float64 Keras variables and activations."""
    import keras

    # The policy first: Keras makes it when it is asked for, from what floats are by then.
    before, policy = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_floatx(before)
    keras.config.set_dtype_policy(policy)
