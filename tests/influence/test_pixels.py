"""The turning of gradients with the pixels, where every sign vector gives the same."""

from __future__ import annotations

import numpy as np
import pytest

from support.projection import linear, softmax
from unlearning.influence.pixels import curvature
from unlearning.task import Split


@pytest.mark.parametrize(("largest", "scale"), [(0.5, 1.0), (1.0, 1.0), (1.5, 1.5), (200.0, 200.0)])
def test_the_step_is_a_share_of_the_pixel_range_which_is_one_at_least(largest: float, scale: float) -> None:
    """One pixel: a step up and one down turn the gradient as far, so that there is one right value."""
    rng = np.random.default_rng(0)
    images = rng.uniform(-1, 0.9, (30, 1, 1, 1))
    images[17] = 1.0
    images, labels = images * largest, rng.integers(0, 3, 30)
    model = linear(side=1)
    kernel, bias = model.get_weights()
    model.set_weights([4 * kernel / scale, bias])
    there = softmax(model, images + 2.5e-4 * scale)
    turned = np.linalg.norm((there - softmax(model, images)) @ (4 * kernel / scale).T.astype(np.float64), axis=1)
    found = curvature(model, Split(images.astype(np.float32), labels))
    np.testing.assert_allclose(found * scale, turned * scale, rtol=0.03, atol=5e-6)
    assert found.dtype == np.float64 and found.shape == (30,)
