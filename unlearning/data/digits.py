"""The 1,797 handwritten digits that ship with scikit-learn (8x8 grey images); they need no network."""

from __future__ import annotations

import numpy as np

from unlearning.data.base import ImageData, Source
from unlearning.data.division import assemble, divide, keep_rows
from unlearning.data.settings import DataSettings


class Digits(Source):
    """`digits`."""

    def matches(self, text: str) -> bool:
        """See `Source.matches`."""
        return text == "digits"

    def load(self, text: str, settings: DataSettings) -> ImageData:
        """See `Source.load`."""
        from sklearn.datasets import load_digits

        digits = load_digits()
        images = np.round(digits.images * (255 / 16)).astype(np.uint8)[..., np.newaxis]
        parts = divide(images, digits.target, settings.data_seed)
        return keep_rows(assemble("digits", parts, [str(k) for k in range(10)]), settings)
