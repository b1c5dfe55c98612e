"""One streaming pass over the trusted rows: the uncentred second moment of what every kernel multiplies.

`C = sum_i a_i a_i'` over the rows `a_i` of a site, in float64: the interesting values of `alpha` reach 1e6, and a
float32 sum is wrong in the digits that then matter. Where a site has fewer rows than columns the rows themselves
are smaller than `C`, and are kept instead.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from scipy.linalg.blas import dsyrk

from unlearning.errors import InputError
from unlearning.interop import inference_arguments, observing
from unlearning.progress import progress_bar
from unlearning.projection.sites import Site
from unlearning.streams import stream


@dataclasses.dataclass(eq=False)
class Statistics:
    """What is known about the rows of one site.

    Attributes:
        rows: Number of rows gathered.
        trace: Sum of squares of all of them, shape `(groups,)`.
        gram: `C`, float64 of shape `(groups, columns, columns)`; None while the rows are kept instead.
        kept: The rows, float64 of shape `(groups, rows, columns)`, where they are fewer than the columns.
    """

    rows: int
    trace: np.ndarray
    gram: np.ndarray | None
    kept: np.ndarray | None


class _Accumulator:
    """Gathers the rows of one site, or their second moment where that is smaller.

    Args:
        site: The site.
        examples: How many examples will pass.
        rows_per_example: At most how many rows of each are taken.
        seed: Seed of the positions that are taken.
        number: Number of the site; each draws by itself.
    """

    def __init__(self, site: Site, examples: int, rows_per_example: int, seed: int, number: int) -> None:
        self._site, self._examples, self._rows_per_example = site, examples, rows_per_example
        self._seed, self._number, self._streams = seed, number, dict[int, np.random.Generator]()
        self._kept: list[np.ndarray] = []
        self._gram: np.ndarray | None = None
        self._trace = np.zeros(site.groups)
        self._rows = 0
        self.call = 0

    def add(self, inputs: np.ndarray) -> None:
        positions = self._site.positions(inputs)
        taken = min(positions, self._rows_per_example)
        chosen = np.broadcast_to(np.arange(positions), (len(inputs), positions))
        if taken < positions:
            # Drawn example by example, from one stream for each call of a shared layer: batch size does not matter.
            if self.call not in self._streams:
                self._streams[self.call] = stream(self._seed, "method", "positions", self._number, self.call)
            keys = self._streams[self.call].random(chosen.shape, dtype=np.float32)
            chosen = np.argpartition(keys, taken - 1, axis=1)[:, :taken]
        self.call += 1
        rows = self._site.rows(inputs, chosen)
        self._rows += rows.shape[1]
        self._trace += np.einsum("gnc,gnc->g", rows, rows)
        if self._gram is None and self._examples * taken < self._site.columns:
            self._kept.append(rows)
        else:
            self._add_products(rows)

    def _add_products(self, rows: np.ndarray) -> None:
        if self._gram is None:
            self._gram = np.zeros((self._site.groups, self._site.columns, self._site.columns))
        for gram, part in zip(self._gram, rows, strict=True):
            # In place, and one triangle only: for wide layers a temporary would cost as much memory as the sum itself.
            dsyrk(1.0, part.T, beta=1.0, c=gram.T, lower=0, overwrite_c=1)

    def result(self) -> Statistics:
        if self._gram is not None or self._rows >= self._site.columns:  # a shared layer may gather more than foreseen
            for rows in self._kept:
                self._add_products(rows)
            for gram in self._gram if self._gram is not None else ():
                mirror(gram)
            return Statistics(self._rows, self._trace, self._gram, None)
        return Statistics(self._rows, self._trace, None, np.concatenate(self._kept, axis=1) if self._kept else None)


def mirror(square: np.ndarray, block: int = 512) -> None:
    """Copies the lower triangle of a square array onto the upper one, in place, block by block."""
    for i in range(0, len(square), block):
        corner = square[i : i + block, i : i + block]
        corner[:] = np.tril(corner) + np.tril(corner, -1).T
        for j in range(i + block, len(square), block):
            square[i : i + block, j : j + block] = square[j : j + block, i : i + block].T


def collect(
    model: keras.Model,
    sites: Sequence[Site],
    images: np.ndarray,
    *,
    max_rows: int = 20_000,
    seed: int = 0,
    batch_size: int = 16,
) -> list[Statistics]:
    """Pushes images through the model once and gathers the statistics of all sites.

    Args:
        model: The model to which the sites belong, in inference mode.
        sites: The kernels.
        images: Trusted images, shape `(rows, height, width, channels)`.
        max_rows: About how many rows a site gathers; where a layer has more positions (pixels, tokens), the same number
            is drawn from every image.
        seed: Seed of that draw.
        batch_size: Images a forward pass; all their activations are in memory at once.

    Returns:
        One entry a site. A site that the forward pass does not reach has zero rows.

    Raises:
        InputError: If there is no image.
    """
    if not len(images):
        raise InputError("trusted rows", "at least one row", "none")
    if max_rows < 1:
        raise InputError("max_rows", "a positive integer", max_rows)
    per_example = -(-max_rows // len(images))
    accumulators = {
        id(site.layer): _Accumulator(site, len(images), per_example, seed, number) for number, site in enumerate(sites)
    }

    def wrap(layer: keras.layers.Layer, call: Callable) -> Callable:
        def observed(*args: Any, **kwargs: Any) -> Any:
            inputs = args[0] if args else kwargs["inputs"]
            accumulators[id(layer)].add(keras.ops.convert_to_numpy(inputs))
            return call(*args, **kwargs)

        return observed

    inference = inference_arguments(model)
    with observing([site.layer for site in sites], wrap):
        for start in progress_bar(range(0, len(images), batch_size), description="what layers receive", unit="batch"):
            for accumulator in accumulators.values():
                accumulator.call = 0
            model(np.asarray(images[start : start + batch_size]), **inference)
    return [accumulators[id(site.layer)].result() for site in sites]


def recalibrate_batch_norm(model: keras.Model, images: np.ndarray, batch_size: int = 128) -> int:
    """Replaces the moving statistics of batch normalisation by those of the model's present weights.

    All other layers stay in inference mode (no dropout). Batches count equally, so their rows should be in random
    order. A layer that the model calls twice is left with the statistics of the second call.

    Args:
        model: The model; changed in place.
        images: Images from the training distribution; labels play no part.
        batch_size: Images a batch; a shorter last batch is left out, unless it is the only one.

    Returns:
        The number of batch normalisation layers.
    """
    layers = [
        layer
        for layer in model._flatten_layers(include_self=False)
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    if not layers:
        return 0
    momenta = [layer.momentum for layer in layers]

    def wrap(_: keras.layers.Layer, call: Callable) -> Callable:
        def normalised(inputs: Any, **kwargs: Any) -> Any:
            return call(inputs, **{**kwargs, "training": True})

        return normalised

    inference = inference_arguments(model)
    starts = range(0, max(len(images) - batch_size + 1, 1), batch_size)
    try:
        with observing(layers, wrap):
            for number, start in enumerate(progress_bar(starts, description="batch normalisation", unit="batch")):
                for layer in layers:
                    layer.momentum = number / (number + 1)  # makes the moving average a plain one
                model(np.asarray(images[start : start + batch_size]), **inference)
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
    return len(layers)
