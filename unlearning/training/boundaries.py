"""What it costs to train a model from a layer on: candidates of `trainable_from`, with parameters, time and memory."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

import numpy as np

from unlearning.activations import movable
from unlearning.interop import ALL, as_logit_model, boundaries
from unlearning.task import Split
from unlearning.training.batches import ShuffledBatches

if TYPE_CHECKING:
    import keras

_BATCH, _STEPS = 128, 4


@dataclasses.dataclass(frozen=True)
class Boundary:
    """One place from which a model may move.

    Attributes:
        name: What `trainable_from` takes: a layer, `"all"`, or the short names `"middle"` and `"head"`, where they are
            this layer.
        layer: The first layer that moves.
        parameters: Trainable parameters from it on.
        of: All trainable parameters.
        features_s: Processor seconds for the activations of a thousand rows, computed once; 0 where there are none.
        epoch_s: Processor seconds to train on a thousand rows once.
        memory_mb: Megabytes of the activations of a thousand rows.
    """

    name: str
    layer: str
    parameters: int
    of: int
    features_s: float
    epoch_s: float
    memory_mb: float


def measure_boundaries(model: keras.Model) -> list[Boundary]:
    """Measures what training from each candidate layer on costs, on this machine, with images of zeros.

    Args:
        model: A built classifier; it is not changed.

    Returns:
        From all layers to the fewest, at most eight.
    """
    shape = [size or 32 for size in model.input_shape[1:]]
    rows = Split(np.zeros((_BATCH * _STEPS, *shape), np.float32), np.zeros(_BATCH * _STEPS, np.int64))
    total = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    places = boundaries(as_logit_model(model, rows.images))  # a copy: layers of a file may have been called twice
    return [_measure(model, name, layer, rows, total) for name, layer in places]


def _measure(model: keras.Model, name: str, layer: str, rows: Split, total: int) -> Boundary:
    import keras

    from unlearning import feeding

    part = movable(as_logit_model(model, rows.images), layer, cached=layer != ALL)
    thousand = 1000 / len(rows)
    taken, features, memory = rows, 0.0, 0.0
    if part.upper is not None:
        part.rows(rows.subset(np.arange(_BATCH)))  # compiles
        begun = time.process_time()
        taken = part.rows(rows)
        features, memory = time.process_time() - begun, taken.images.nbytes / 1e6
    part.model.compile(optimizer="adam", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    batches = ShuffledBatches(taken.images, taken.labels, batch_size=_BATCH)
    feeding.fit(part.model, batches, epochs=1)  # compiles
    begun = time.process_time()
    feeding.fit(part.model, batches, epochs=1)
    spent = time.process_time() - begun
    moving = sum(int(np.prod(v.shape)) for v in part.model.trainable_variables)
    return Boundary(name, layer, moving, total, features * thousand, spent * thousand, memory * thousand)
