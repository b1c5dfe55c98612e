"""The places from which a model may move, each with what enters it computed once, and trainings above it.

A lower level moves more and costs more. The activations of a level are made from those of the level below it where that
one has them: one pass over the images serves all. Weights are those of one working copy, which all levels share, so
that a level below begins where the one above has ended. A level above must not be used after a level below has moved:
its activations are then those of other weights.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from unlearning.activations import MEMORY_LIMIT_BYTES, UpperPart, movable, new_table, part_between
from unlearning.interop import as_graph, inference_arguments
from unlearning.methods.choosing.course import Course
from unlearning.profiling import spending
from unlearning.progress import pulse
from unlearning.streams import stream

if TYPE_CHECKING:
    import keras

_ROWS = 512
_CENTROID_ROWS = 4096
_BATCH_NORM_ROWS = 2048
_BATCH = 128


class Table:
    """Rows of numbers that are computed when they are first asked for.

    Args:
        compute: From row numbers to their values, `(rows, ...)`.
        count: How many rows there are.

    """

    def __init__(self, compute: Callable[[np.ndarray], np.ndarray], count: int) -> None:
        self._compute, self._count = compute, count
        self._values: np.ndarray | None = None
        self._known = np.zeros(count, bool)

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Returns the values of rows, which may repeat."""
        missing = np.unique(rows[~self._known[rows]])
        if len(missing):
            for start in range(0, len(missing), 8 * _ROWS):
                block = missing[start : start + 8 * _ROWS]
                self._put(block, self._compute(block))
        assert self._values is not None
        return self._values[rows]

    def _put(self, rows: np.ndarray, values: np.ndarray) -> None:
        if self._values is None:
            shape = (self._count, *values.shape[1:])
            self._values, self._folder = new_table(shape, values.dtype.name, MEMORY_LIMIT_BYTES)
        elif np.dtype(values.dtype).itemsize > self._values.dtype.itemsize:  # half precision holds these no longer
            self._values = self._values.astype(values.dtype)
        self._values[rows] = values
        self._known[rows] = True


@dataclasses.dataclass(frozen=True)
class Trained:
    """A finished training.

    Attributes:
        weights: Of the working copy.
        steps: Steps made.
        gradient_rows: Rows whose gradients were taken.
    """

    weights: list[np.ndarray]
    steps: int
    gradient_rows: int


class Level:
    """A place from which a model may move.

    Args:
        model: The working copy, which puts out logits where it can.
        name: A layer, or `"all"`.
        images: From row numbers to images, one function for each kind of rows by name (`train`, `choosing`).
        counts: How many rows there are of each kind.
        closed: Whether the model puts out probabilities.
        num_classes: Number of classes.
        below: A lower level whose activations this one's are made from; None for the images.

    Attributes:
        name: Its name.
        parameters: Number of parameters that may move.
        upper: The part that moves, on activations; None where it takes images.
    """

    upper: UpperPart | None

    def __init__(
        self,
        model: keras.Model,
        name: str,
        images: dict[str, Callable[[np.ndarray], np.ndarray]],
        counts: dict[str, int],
        *,
        closed: bool,
        num_classes: int,
        below: Level | None = None,
    ) -> None:
        self.name, self._whole, self._closed, self._num_classes = name, model, closed, num_classes
        part = movable(model, name, cached=True)
        self.model, self.upper = part.model, part.upper
        self.parameters = sum(int(np.prod(v.shape)) for v in part.model.trainable_variables)
        self._tables: dict[str, Table | _Plain] = {}
        read = images
        if part.upper is not None:
            upper, source = part.upper, images
            if below is not None and below.upper is not None:
                on_it = part_between(model, below.upper, upper)
                if on_it is not None:
                    upper, source = on_it, {kind: below.take_kind(kind) for kind in images}
            read = {kind: _through(upper.activations, source[kind]) for kind in images}
        for kind, count in counts.items():
            self._tables[kind] = Table(read[kind], count) if part.upper is not None else _Plain(images[kind])
        self._steps: Any = None
        inference = inference_arguments(self.model)
        self._answer = as_graph(lambda rows: self.model(rows, **inference))

    @property
    def is_cached(self) -> bool:
        """Whether what enters it is computed once."""
        return self.upper is not None

    def take_kind(self, kind: str) -> Callable[[np.ndarray], np.ndarray]:
        """Returns what takes rows of a kind by their numbers."""
        return self._tables[kind].take

    def prepare(self, kind: str, rows: np.ndarray) -> None:
        """Computes what enters the level for rows, where that is done once."""
        if self.is_cached:
            self._tables[kind].take(rows)

    @spending("scores")
    def scores(self, kind: str, rows: np.ndarray) -> np.ndarray:
        """Returns the model's outputs `(rows, K)` under its present weights."""
        take = self.take_kind(kind)

        parts = []
        for start in range(0, len(rows), _ROWS):
            parts.append(np.asarray(self._answer(take(rows[start : start + _ROWS]))))
            pulse()
        return np.concatenate(parts)

    @spending("training")
    def train(
        self,
        rows: np.ndarray,
        weights: Callable[[np.ndarray], np.ndarray],
        *,
        course: Course,
        peak: float,
        pull: float,
        seed: int,
        batch_size: int = _BATCH,
    ) -> Trained:
        """Trains above the level, by Adam with a learning rate that falls to zero.

        Args:
            rows: Row numbers of `train`, which may repeat.
            weights: From positions in `rows` to class weights, float32 `(B, K)`.
            course: How far it is.
            peak: The learning rate that it begins with.
            pull: Weight of the pull towards the centroids.
            seed: Of the order.
            batch_size: Rows a step.

        Returns:
            The weights after the last step.
        """
        from unlearning.centroids.steps import CentroidSteps
        from unlearning.projection.statistics import recalibrate_batch_norm

        take = self.take_kind("train")
        if self._steps is None:
            self._steps = CentroidSteps(self.model, self._num_classes, closed=self._closed)
        self._steps.start(pull)
        if pull and self._steps.can_pull:
            some = stream(seed, "centroid rows").permutation(len(rows))[:_CENTROID_ROWS]
            parts = [some[start : start + _ROWS] for start in range(0, len(some), _ROWS)]
            self._steps.measure((take(rows[part]), weights(part)) for part in parts)
        epoch = steps = seen = 0
        size = min(batch_size, len(rows))
        while not course.is_over:
            order = stream(seed, "order", epoch).permutation(len(rows))
            for start in range(0, len(order), size):
                part = order[start : start + size]
                self._steps.step(take(rows[part]), weights(part), course.rate(peak))
                course.step()
                pulse()
                steps, seen = steps + 1, seen + len(part)
                if course.is_over:
                    break
            epoch += 1
        some = stream(seed, "batch-norm rows").permutation(len(rows))[:_BATCH_NORM_ROWS]
        if any(type(layer).__name__ == "BatchNormalization" for layer in self.model._flatten_layers()):
            recalibrate_batch_norm(self.model, take(rows[some]))
        return Trained(self._whole.get_weights(), steps, seen)


class _Plain:
    """Rows that are taken as they are."""

    def __init__(self, take: Callable[[np.ndarray], np.ndarray]) -> None:
        self.take = take


def _through(function: Callable[[Any], np.ndarray], take: Callable[[np.ndarray], np.ndarray]) -> Any:
    return lambda rows: function(take(rows))
