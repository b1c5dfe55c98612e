"""The 1,797 handwritten digits that ship with scikit-learn (8x8 grey images); they need no network."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from unlearning.data.assembling import assemble
from unlearning.data.base import Source
from unlearning.data.division import divide
from unlearning.data.image_data import ImageData
from unlearning.data.settings import DataSettings


class Digits(Source):
    """Handwritten digits."""

    form: ClassVar[str] = "digits"

    def matches(self, text: str) -> bool:
        """Whether this is their name."""
        return text == "digits"

    def load(self, text: str, settings: DataSettings) -> ImageData:
        """Divides them."""
        from sklearn.datasets import load_digits

        digits = load_digits()
        images = np.round(digits.images * (255 / 16)).astype(np.uint8)[..., np.newaxis]
        return assemble("digits", divide(images, digits.target, settings.data_seed), [str(k) for k in range(10)])
