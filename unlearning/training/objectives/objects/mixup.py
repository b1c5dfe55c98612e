"""MixUp as a data set around another data set."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from unlearning.errors import InputError
from unlearning.streams import stream
from unlearning.training.objectives.objects.checks import number


class MixUp(keras.utils.PyDataset):
    """Batches whose rows are blends of two rows, labels included (Zhang et al., mixup, ICLR 2018).

    Each batch draws one `lam` from Beta(alpha, alpha) and a partner `j` for every row `i`, a permutation of the batch:

        x = lam * x_i + (1 - lam) * x_j        y = lam * onehot(y_i) + (1 - lam) * onehot(y_j)

    What is drawn depends on seed, epoch and batch number alone. Train with `CategoricalCrossentropy`; validation data
    then need one-hot labels too, which `MixUp(validation, 0, ...)` yields: an alpha of 0 blends nothing.

    Args:
        data: Data set of `(x, y)` batches with class numbers as `y`.
        alpha: Both parameters of the beta distribution, at least 0. Small: `lam` is mostly close to 0 or 1.
        num_classes: Number of classes.
        seed: Seed.
        epoch: The epoch to start with.

    Example:
        >>> model.compile("sgd", loss=keras.losses.CategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
        >>> history = model.fit(MixUp(batches, 0.2, num_classes=3), epochs=2, shuffle=False, verbose=0)
    """

    def __init__(
        self, data: keras.utils.PyDataset, alpha: float = 0.2, *, num_classes: int, seed: int = 0, epoch: int = 0
    ) -> None:
        if not isinstance(data, keras.utils.PyDataset):
            raise InputError("data", "a keras.utils.PyDataset of (images, class numbers) batches", type(data).__name__)
        super().__init__(data.workers, data.use_multiprocessing, data.max_queue_size)
        self._data = data
        self._alpha = 0.0 if alpha == 0 else number("alpha", alpha, "a number of at least 0", above=0)
        if isinstance(num_classes, bool) or num_classes != int(num_classes) or num_classes < 2:
            raise InputError("num_classes", "an integer of at least 2", num_classes)
        self._num_classes, self._seed, self._epoch = int(num_classes), seed, epoch
        if epoch:
            self.start_at(epoch)

    @property
    def num_batches(self) -> int | None:
        """Number of batches an epoch, that of the inner data set."""
        return self._data.num_batches

    def __len__(self) -> int:
        return len(self._data)

    def start_at(self, epoch: int) -> None:
        """Makes `epoch` (from 0) the current one, in the inner data set too if it has such a method."""
        self._epoch = epoch
        if hasattr(self._data, "start_at"):
            self._data.start_at(epoch)

    def on_epoch_begin(self) -> None:
        """Tells the inner data set; Keras calls this."""
        self._data.on_epoch_begin()

    def on_epoch_end(self) -> None:
        """Moves on to the next epoch; Keras calls this."""
        self._epoch += 1
        self._data.on_epoch_end()

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        batch: Any = self._data[index]
        if not isinstance(batch, tuple | list) or len(batch) != 2:
            raise InputError(
                "data", "batches of images and class numbers, without sample weights", type(batch).__name__
            )
        images = np.asarray(batch[0], "float32")
        labels = self._one_hot(np.asarray(batch[1]), len(images))
        if not self._alpha:
            return images, labels
        rng = stream(self._seed, "order", "mixup", self._epoch, index)
        share = np.float32(rng.beta(self._alpha, self._alpha))
        partner = rng.permutation(len(images))
        return (
            share * images + (1 - share) * images[partner],
            share * labels + (1 - share) * labels[partner],
        )

    def _one_hot(self, labels: np.ndarray, rows: int) -> np.ndarray:
        if labels.size != rows or not np.issubdtype(labels.dtype, np.integer):
            raise InputError("data", "one class number, an integer, per image", f"{labels.dtype} {labels.shape}")
        labels = labels.reshape(-1)
        if labels.min() < 0 or labels.max() >= self._num_classes:
            raise InputError("data", f"labels in 0..{self._num_classes - 1}", f"{labels.min()}..{labels.max()}")
        return np.eye(self._num_classes, dtype="float32")[labels]
