"""A seed that no generator takes is refused before anything is computed."""

from __future__ import annotations

import numpy as np
import pytest

from support.hostile import refused
from support.small import blobs, small_model
from unlearning import detect, repair
from unlearning.settings import check_seed


@pytest.mark.parametrize("seed", [-1, 2**31, 1.5, "1", True, None])
def test_out_of_range(seed: object) -> None:
    data, model = blobs(12), small_model()
    refused(lambda: repair(model, data, flagged={0: 1}, seed=seed), "`seed`.*from 0 to 2147483647")
    refused(lambda: detect(model, data, seed=seed), "`seed`")


def test_numbers_of_numpy_are_numbers() -> None:
    assert check_seed(np.int64(3)) == 3 and type(check_seed(np.int64(3))) is int and check_seed(2**31 - 1)
