"""What black and white are, where nobody has said it."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from unlearning.data import pixel_range
from unlearning.noise import corrupt
from unlearning.reporting.page.gallery import draw_thumbnail
from unlearning.task import Split

RNG = np.random.default_rng(0)
UNIT = RNG.random((40, 16, 16, 3))
STANDARDISED = ((UNIT - 0.5) / 0.29).astype(np.float32)
SIGNED = (2 * UNIT - 1).astype(np.float32)


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (np.zeros((2, 3, 3, 1), np.uint8), (0, 255)),
        (UNIT, (0, 1)),
        (SIGNED, (-1, 1)),
        (STANDARDISED, (STANDARDISED.min(), STANDARDISED.max())),
        ((255 * UNIT).astype(np.float32), (0, 255)),
        ((255 * UNIT).astype(np.int64), (0, 255)),
        ((16 * UNIT).round(), (0, 16)),
        ((65535 * UNIT).astype(np.uint16), (0, int((65535 * UNIT).max()))),
        (np.zeros((2, 3, 3, 1)), (0, 1)),
        (np.full((2, 3, 3, 1), -7.0), (-7, -6)),
        (np.empty((0, 3, 3, 1)), (0, 255)),
    ],
)
def test_ranges(images: np.ndarray, expected: tuple[float, float]) -> None:
    assert pixel_range(images) == pytest.approx(expected)


@pytest.mark.parametrize("images", [UNIT, SIGNED, STANDARDISED, (255 * UNIT).astype(np.uint8)])
def test_thumbnails_show_the_picture(images: np.ndarray) -> None:
    with Image.open(io.BytesIO(draw_thumbnail(images[0], *pixel_range(images)))) as picture:
        shown = np.asarray(picture)
    np.testing.assert_allclose(shown, 255 * UNIT[0], atol=1.5)


@pytest.mark.parametrize(
    ("images", "white"), [(UNIT, 1.0), (SIGNED, 1.0), (STANDARDISED, STANDARDISED.max()), ((255 * UNIT).round(), 255.0)]
)
def test_the_patch_of_a_backdoor_is_white(images: np.ndarray, white: float) -> None:
    split = Split(images, np.arange(40) % 4)
    found = corrupt("backdoor", split, budget=5, seed=0, num_classes=4)
    assert found.patch is not None and found.patch.value == pytest.approx(white)
    assert found.apply(split).images.max() == pytest.approx(white)
