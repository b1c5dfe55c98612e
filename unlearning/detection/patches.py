"""Features from image patches, learned without any label, so that no wrong label can have shaped them.

Random patches of the training images, whitened, become filters; an image's features are the rectified responses of the
filters and of their negatives, averaged over a coarse grid. After Coates, Lee and Ng, "An Analysis of Single-Layer
Networks in Unsupervised Feature Learning" (AISTATS 2011), and Coates and Ng, "The Importance of Encoding Versus
Training" (ICML 2011), which found that random patches do nearly as well as learned ones.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from unlearning.errors import InputError
from unlearning.interop import as_graph
from unlearning.streams import stream

_SAMPLES = 50_000  # patches that the whitening is estimated from
_CONTRAST = 10.0  # added to a patch's variance on the scale 0..255
_WHITENING = 0.1  # added to the eigenvalues of normalised patches
_LARGEST_SIDE = 32  # larger images are shrunk to it


class PatchFeatures:
    """A bank of patch filters for images of one shape.

    Args:
        images: Training images `(rows, height, width, channels)`; only a sample is read here.
        filters: Number of patches; an image has `2 * filters * grid**2` features.
        size: Side of a patch in pixels (of the shrunk image); at most half the image is used.
        threshold: Responses below it, in units of the whitened patch, count as none.
        grid: The responses are averaged over `grid x grid` regions.
        seed: Seed of the sample.

    Raises:
        InputError: If rows are no images, or pixels are not finite.
    """

    def __init__(self, images: np.ndarray, *, filters: int, size: int, threshold: float, grid: int, seed: int) -> None:
        from keras import ops

        if len(images.shape) != 4:
            raise InputError(
                f"patches needs images of shape (rows, height, width, channels), and a row here has the shape "
                f"{tuple(images.shape[1:])}: use neighbours, cross-validation, or pretrained with eyes=FEATURES.npy."
            )
        rng = stream(seed, "detector", "patches")
        sample = np.asarray(images[np.sort(rng.permutation(len(images))[:2000])], dtype=np.float32)
        low, high = float(sample.min()), float(sample.max())
        if not np.isfinite([low, high]).all():
            raise InputError("images", "finite pixels", f"{low}..{high}")
        self._scale, self._shift = 255 / (high - low or 1.0), low
        largest = max(sample.shape[1:3])
        ratio = min(1.0, _LARGEST_SIDE / largest)
        self._shape = tuple(max(2, round(side * ratio)) for side in sample.shape[1:3])
        self._size = max(2, min(size, min(self._shape) // 2))
        patches = self._draw(ops.convert_to_numpy(self._prepare(sample)), rng)
        mean = patches.mean(axis=0)
        values, vectors = np.linalg.eigh(np.cov(patches - mean, rowvar=False))
        whitening = vectors / np.sqrt(np.maximum(values, 0) + _WHITENING) @ vectors.T
        white = (patches[rng.permutation(len(patches))[:filters]] - mean) @ whitening
        directions = whitening @ (white / np.maximum(np.linalg.norm(white, axis=1, keepdims=True), 1e-12)).T
        channels = sample.shape[3]
        self._kernel = directions.reshape(self._size, self._size, channels, -1).astype(np.float32)
        self._sums = directions.sum(axis=0).astype(np.float32)
        self._offset = (mean @ directions).astype(np.float32)
        self._threshold = threshold
        rows, columns = (_regions(side - self._size + 1, grid) for side in self._shape)
        self._regions = [(row, column) for row in rows for column in columns]
        self._call = as_graph(self._features)
        self.count = 2 * directions.shape[1] * len(self._regions)

    def __call__(self, images: np.ndarray, *, mirror: bool = False, batch_size: int = 128) -> np.ndarray:
        """Returns features, float32 `(rows, count)`; with `mirror`, the sum over each image and its mirror image."""
        from keras import ops

        features = np.empty((len(images), self.count), np.float32)
        for start in range(0, len(images), batch_size):
            batch = np.asarray(images[start : start + batch_size], dtype=np.float32)
            found = ops.convert_to_numpy(self._call(batch))
            if mirror:
                found = found + ops.convert_to_numpy(self._call(batch[:, :, ::-1]))
            features[start : start + batch_size] = found
        return features

    def _prepare(self, images: Any) -> Any:
        from keras import ops

        scaled = (ops.cast(images, "float32") - self._shift) * self._scale
        if tuple(images.shape[1:3]) == self._shape:
            return scaled
        return ops.image.resize(scaled, self._shape, interpolation="area", data_format="channels_last")

    def _draw(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Returns contrast-normalised random patches, float64 `(samples, size * size * channels)`."""
        rows = rng.integers(0, len(images), _SAMPLES)
        tops, lefts = (rng.integers(0, side - self._size + 1, _SAMPLES) for side in self._shape)
        window = np.arange(self._size)
        patches = images[
            rows[:, None, None], tops[:, None, None] + window[:, None], lefts[:, None, None] + window[None, :]
        ].reshape(_SAMPLES, -1)
        patches = patches.astype(np.float64)
        centred = patches - patches.mean(axis=1, keepdims=True)
        return centred / np.sqrt(centred.var(axis=1, keepdims=True) + _CONTRAST)

    def _features(self, images: Any) -> Any:
        from keras import ops

        shape = {"strides": 1, "padding": "valid", "data_format": "channels_last"}
        x = self._prepare(images)
        # Normalising every patch and then filtering it, without ever cutting a patch out.
        brightness = ops.mean(x, -1, keepdims=True)
        square = ops.mean(ops.square(x), -1, keepdims=True)
        mean = ops.average_pool(brightness, self._size, **shape)
        variance = ops.maximum(ops.average_pool(square, self._size, **shape) - ops.square(mean), 0.0)
        response = ops.conv(x, self._kernel, **shape) - mean * self._sums
        response = response / ops.sqrt(variance + _CONTRAST) - self._offset
        signs = [ops.relu(sign * response - self._threshold) for sign in (1.0, -1.0)]
        parts = [ops.mean(sign[:, row, column], (1, 2)) for row, column in self._regions for sign in signs]
        return ops.concatenate(parts, -1)


def _regions(positions: int, grid: int) -> list[slice]:
    """Divides neighbouring positions into at most `grid` runs of nearly equal length."""
    groups = np.array_split(np.arange(positions), min(grid, positions))
    return [slice(int(group[0]), int(group[-1]) + 1) for group in groups]
