"""The registered methods, as parameters of tests."""

from __future__ import annotations

from typing import Any

import pytest

from unlearning import methods

NAMES = (*methods.METHODS.names(), "sap+first-order")
FIRST = {methods.METHODS.load(name): name for name in reversed(methods.METHODS.names())}
"""By class, the first method that is one: the others are presets of it."""


def typical_names(names: tuple[str, ...] = NAMES) -> list[Any]:
    """In what is dear to ask, the other presets of a class wait for the slow tests."""
    presets = set(methods.METHODS.names()) - set(FIRST.values())
    return [pytest.param(name, marks=[pytest.mark.slow] * (name in presets)) for name in names]
