"""Features from image patches, learned without any label, so that no wrong label can have shaped them.

Random patches of the training images, whitened, become filters; an image's features are the rectified responses of the
filters and of their negatives, averaged over a coarse grid. After Coates, Lee and Ng, "An Analysis of Single-Layer
Networks in Unsupervised Feature Learning" (AISTATS 2011), and Coates and Ng, "The Importance of Encoding Versus
Training" (ICML 2011), which found that random patches do nearly as well as learned ones.

What a position costs, and what is done about it:

- Hundreds of responses a position cost more to rectify than to filter if they leave the processor's cache. So images
  are taken one by one and their positions some hundred at a time. With `m_R` the mean over a region, `r` the responses
  and `t` the threshold,

      m_R(max(r - t, 0)) = m_R(max(r, t)) - t,      m_R(max(-r - t, 0)) = -m_R(min(r, -t)) - t,

  so that each sign is one pass and one product with the indicators of the regions.
- Whitened patches have few directions that tell anything: for the eigenvalues `s` of the patches' covariance and the
  ridge `e` of the whitening, direction `j` accounts for a share of the responses' variance that goes with
  `(s_j / (s_j + e))^2`. Those that account for `kept` of it stay (55 of 108 for 98 % on CIFAR-10), and filtering is a
  product with as many columns.
- A mirror image has the same patches, mirrored: they are cut out and normalised once, and seen by mirrored filters.

On CIFAR-10 with 20,000 rows that takes 45 % of the processor time of a convolution of whole batches, and ranks wrong
labels as well (`docs/results/detection.md`). What does not help: looking at every other position only (AUROC .916
instead of .933 on pairs). Images are independent; each thread has its own.
"""

from __future__ import annotations

import concurrent.futures
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from unlearning.errors import InputError
from unlearning.progress import progress_bar
from unlearning.startup import pool_size
from unlearning.streams import stream

_SAMPLES = 50_000  # patches that the whitening is estimated from
_CONTRAST = 10.0  # added to a patch's variance on the scale 0..255
_WHITENING = 0.1  # added to the eigenvalues of normalised patches
_LARGEST_SIDE = 32  # larger images are shrunk to it
_CACHED = 2**18  # bytes of responses that are worked on at a time


class PatchFeatures:
    """A bank of patch filters for images of one shape.

    Args:
        images: Training images `(rows, height, width, channels)`; only a sample is read here.
        filters: Number of patches; an image has `2 * filters * grid**2` features.
        size: Side of a patch in pixels (of the shrunk image); at most half the image is used.
        threshold: Responses below it, in units of the whitened patch, count as none.
        grid: The responses are averaged over `grid x grid` regions.
        kept: Share of the responses' variance that the directions of patches must account for.
        seed: Seed of the sample.

    Raises:
        InputError: If rows are no images, or pixels are not finite.
    """

    def __init__(
        self, images: np.ndarray, *, filters: int, size: int, threshold: float, grid: int, kept: float, seed: int
    ) -> None:
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
        values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1]  # the strongest first
        carried = np.cumsum(np.square(values / (values + _WHITENING)))
        count = 1 + int(np.searchsorted(carried, min(kept, 1 - 1e-12) * carried[-1]))
        basis = vectors[:, :count] / np.sqrt(values[:count] + _WHITENING)
        white = (patches[rng.permutation(len(patches))[:filters]] - mean) @ basis
        white /= np.maximum(np.linalg.norm(white, axis=1, keepdims=True), 1e-12)
        self._filters = np.ascontiguousarray(white.T, dtype=np.float32)
        window = basis.reshape(self._size, self._size, sample.shape[3], -1)
        offset = -(mean @ basis)
        turned = [np.vstack([one.reshape(basis.shape), offset]) for one in (window, window[:, ::-1])]
        self._bases = [one.astype(np.float32) for one in turned]  # and of mirror images
        self._threshold = np.float32(threshold)
        height, width = (side - self._size + 1 for side in self._shape)
        self._positions = height, width
        regions = _indicators(height, width, grid)
        self._means = [one.reshape(len(regions), -1) for one in (regions, regions[:, :, ::-1])]
        self.count = 2 * len(white) * len(regions)

    def __call__(self, images: np.ndarray, *, mirror: bool = False, batch_size: int = 128) -> np.ndarray:
        """Returns features, float32 `(rows, count)`; with `mirror`, the sum over each image and its mirror image."""
        return self._see(images, (0, 1) if mirror else (0,), batch_size)

    def mirrored(self, images: np.ndarray, *, batch_size: int = 128) -> np.ndarray:
        """Returns features of the mirror images, float32 `(rows, count)`."""
        return self._see(images, (1,), batch_size)

    def _see(self, images: np.ndarray, ways: Sequence[int], batch_size: int) -> np.ndarray:
        from keras import ops

        features = np.zeros((len(images), self.count), np.float32)
        with concurrent.futures.ThreadPoolExecutor(threads := pool_size()) as pool:
            for start in progress_bar(range(0, len(images), batch_size), description="patches", unit="batch"):
                rows = slice(start, start + batch_size)
                prepared = ops.convert_to_numpy(self._prepare(np.asarray(images[rows], dtype=np.float32)))
                parts = [(prepared[i::threads], features[rows][i::threads], ways) for i in range(threads)]
                list(pool.map(self._fill, *zip(*parts, strict=True)))
        return features

    def _prepare(self, images: np.ndarray) -> Any:
        from keras import ops

        scaled = (images - np.float32(self._shift)) * np.float32(self._scale)
        if images.shape[1:3] == self._shape:
            return scaled
        return ops.image.resize(scaled, self._shape, interpolation="area", data_format="channels_last")

    def _fill(self, images: np.ndarray, features: np.ndarray, ways: Sequence[int]) -> None:
        """Adds the features of images to rows of zeros."""
        height, width = self._positions
        length, filters = len(self._bases[0]), self._filters.shape[1]
        patches = np.ones((height * width, length), np.float32)  # the last column stands for the offset
        inside = patches[:, :-1]
        window = inside.reshape(height, width, self._size, -1)
        step = max(1, _CACHED // (4 * filters))
        chunks = [slice(start, start + step) for start in range(0, len(patches), step)]
        response, rectified = (np.empty((step, filters), np.float32) for _ in range(2))
        for image, own in zip(images, features.reshape(len(features), len(self._means[0]), 2, filters), strict=True):
            lines = np.ascontiguousarray(image).reshape(len(image), -1)
            window[...] = _windows(lines, self._size, images.shape[3])
            inside -= inside.mean(axis=1, keepdims=True)
            variance = np.einsum("ij,ij->i", inside, inside) / np.float32(length - 1)
            inside /= np.sqrt(variance + np.float32(_CONTRAST))[:, np.newaxis]
            for way in ways:
                white, means = patches @ self._bases[way], self._means[way]
                own -= self._threshold
                for chunk in chunks:
                    part = white[chunk]
                    found, high = response[: len(part)], rectified[: len(part)]
                    np.matmul(part, self._filters, out=found)
                    np.clip(found, self._threshold, np.inf, out=high)  # twice as fast as `np.maximum`
                    own[:, 0] += means[:, chunk] @ high
                    np.clip(found, -np.inf, -self._threshold, out=found)
                    own[:, 1] -= means[:, chunk] @ found

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


def _windows(lines: np.ndarray, size: int, channels: int) -> np.ndarray:
    """A view of all patches of an image, `(height, width, size, size * channels)`, of its rows `(rows, columns)`."""
    down, right = lines.strides
    shape = (len(lines) - size + 1, lines.shape[1] // channels - size + 1, size, size * channels)
    return np.lib.stride_tricks.as_strided(lines, shape, (down, right * channels, down, right), writeable=False)


def _indicators(height: int, width: int, grid: int) -> np.ndarray:
    """Returns which positions a region averages, float32 `(regions, height, width)`, as weights that sum to one.

    Neighbouring positions are divided into at most `grid` runs of nearly equal length, in both directions.

    Args:
        height: Positions in a column.
        width: Positions in a row.
        grid: Most runs in either direction.

    Returns:
        The weights.
    """
    runs = (np.array_split(np.eye(side, dtype=np.float32), min(grid, side)) for side in (height, width))
    return np.stack([np.outer(down.mean(0), right.mean(0)) for down, right in itertools.product(*runs)])
