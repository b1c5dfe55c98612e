"""Mini-batches whose order depends on seed and epoch alone, so that a resumed training sees what it would have."""

from __future__ import annotations

import keras
import numpy as np

from unlearning.errors import InputError
from unlearning.streams import stream


class ShuffledBatches(keras.utils.PyDataset):
    """Images and labels in a new random order every epoch, optionally shifted and mirrored.

    Keras shuffles arrays with a generator whose state depends on everything before; after a crash that state is gone.
    Here epoch `e` is drawn from `(seed, e)`, so a training that resumes at `e` continues as if nothing had happened.

    Args:
        images: Array of shape `(rows, height, width, channels)`.
        labels: Integer array of shape `(rows,)`; what the model is trained on (the given labels).
        batch_size: Rows a batch; the last one may be smaller.
        seed: Seed.
        augment: Random shifts of up to 4 pixels (zero padding) and horizontal mirroring.
        epoch: The epoch to start with.
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        *,
        batch_size: int = 128,
        seed: int = 0,
        augment: bool = False,
        epoch: int = 0,
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise InputError("batch_size", "a positive integer", batch_size)
        if len(images) != len(labels) or not len(images):
            raise InputError("labels", f"one label per image ({len(images)} images, at least one)", len(labels))
        self._images, self._labels = images, labels
        self._batch_size, self._seed, self._augment = batch_size, seed, augment
        self.start_at(epoch)

    def start_at(self, epoch: int) -> None:
        """Makes `epoch` (from 0) the current one."""
        self._epoch = epoch
        self._order = stream(self._seed, "order", epoch).permutation(len(self._labels))

    def on_epoch_end(self) -> None:
        """Moves on to the next epoch; Keras calls this."""
        self.start_at(self._epoch + 1)

    def __len__(self) -> int:
        return -(-len(self._labels) // self._batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        rows = self._order[index * self._batch_size : (index + 1) * self._batch_size]
        images = self._images[rows]
        if self._augment:
            images = shift_and_mirror(images, stream(self._seed, "order", "augmentation", self._epoch, index))
        return images, self._labels[rows]


def shift_and_mirror(images: np.ndarray, rng: np.random.Generator, padding: int = 4) -> np.ndarray:
    """Returns images shifted by up to `padding` pixels each way, half of them mirrored left to right.

    Args:
        images: Array of shape `(rows, height, width, channels)`.
        rng: Draws shifts and mirrorings.
        padding: Largest shift, in pixels; what moves in is 0.

    Returns:
        An array of the same shape and dtype.
    """
    rows, height, width, _ = images.shape
    padded = np.pad(images, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    top, left = rng.integers(0, 2 * padding + 1, (2, rows))
    y = top[:, None] + np.arange(height)
    x = left[:, None] + np.arange(width)
    mirrored = rng.random(rows) < 0.5
    x[mirrored] = x[mirrored, ::-1]
    return padded[np.arange(rows)[:, None, None], y[:, :, None], x[:, None, :]]
