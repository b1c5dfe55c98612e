"""Scaled Activation Projection in NumPy, and tiny networks that it can be redone on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from unlearning.evaluation import accuracy
from unlearning.projection.callback import ScaledActivationProjection
from unlearning.projection.search import ProjectionReport
from unlearning.projection.sites import Site, find_sites
from unlearning.projection.solver import Projector
from unlearning.projection.statistics import Statistics
from unlearning.task import OutcomeStatus, Split

ROUTES = ("eigen", "cholesky", "dual")


TOY: dict[str, Any] = {"trusted_count": 60, "alphas": (300.0, 100.0, 30.0)}
"""A grid for a network of 18 columns instead of thousands."""


def by_svd(rows: np.ndarray, kernel: np.ndarray, alpha: float) -> np.ndarray:
    """The projected kernel as it is published: singular vectors of the transposed rows, scaled singular values."""
    vectors, singular, _ = np.linalg.svd(np.asarray(rows, np.float64).T, full_matrices=False)
    ratios = singular**2 / np.sum(singular**2)
    scaled = alpha * ratios / ((alpha - 1) * ratios + 1)
    root = vectors * np.sqrt(scaled)
    return (root @ root.T) @ kernel


def statistics_of(rows: np.ndarray, *, keep: bool = False) -> Statistics:
    """Statistics of rows `(n, d)` or `(groups, n, d)`."""
    rows = np.asarray(rows, np.float64)
    rows = rows[None] if rows.ndim == 2 else rows
    trace = np.sum(rows**2, axis=(1, 2))
    if keep:
        return Statistics(rows.shape[1], trace, None, rows.copy())
    return Statistics(rows.shape[1], trace, rows.swapaxes(1, 2) @ rows, None)


def moment(statistics: Statistics) -> np.ndarray:
    assert statistics.gram is not None
    return statistics.gram[0]


def kept(statistics: Statistics) -> np.ndarray:
    assert statistics.kept is not None
    return statistics.kept


def project(rows: np.ndarray, kernel: np.ndarray, alpha: float, route: str | None = None) -> np.ndarray:
    statistics = statistics_of(rows, keep=route == "dual")
    return Projector(statistics, kernel.shape[-1], route=route).project(kernel[None].copy(), alpha)[0]


def steep(rows: int, columns: int, lowest: float, seed: int = 0) -> np.ndarray:
    """Rows whose singular values fall from 1 to `lowest`, evenly on a logarithmic scale."""
    rng = np.random.default_rng(seed)
    rank = min(rows, columns)
    left, _ = np.linalg.qr(rng.standard_normal((rows, rank)))
    right, _ = np.linalg.qr(rng.standard_normal((columns, rank)))
    return (left * np.geomspace(1, lowest, rank)) @ right.T


def site_of(layer: keras.layers.Layer) -> Site:
    """The one site of a built layer."""
    (site,), _ = find_sites(keras.Sequential([layer]))
    return site


def all_rows(site: Site, inputs: np.ndarray) -> np.ndarray:
    positions = site.positions(inputs)
    return site.rows(inputs, np.broadcast_to(np.arange(positions), (len(inputs), positions)))


def randomise(layer: keras.layers.Layer, seed: int = 1) -> None:
    rng = np.random.default_rng(seed)
    layer.set_weights([rng.standard_normal(weight.shape) for weight in layer.get_weights()])


def same(first: Sequence[np.ndarray], second: Sequence[np.ndarray]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


class Stranger(keras.Model):
    """A subclassed model whose `call` knows no `training`, with a layer the forward pass does not reach."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.flatten = keras.layers.Flatten()
        self.hidden = keras.layers.Dense(8, activation="relu", name="hidden")
        self.spare = keras.layers.Dense(2, name="spare")
        self.out = keras.layers.Dense(3, name="out")

    def build(self, shape) -> None:
        self.hidden.build((None, 36))
        self.spare.build((None, 5))
        self.out.build((None, 8))
        self.built = True

    def call(self, inputs):
        return self.out(self.hidden(self.flatten(inputs)))


def linear(classes: int = 3, *, side: int = 2, softmax: bool = False, seed: int = 0, scale: float = 1.0) -> keras.Model:
    """Softmax regression on `side` x `side` pixels."""
    model = keras.Sequential(
        [
            keras.Input((side, side, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(classes, activation="softmax" if softmax else None),
        ]
    )
    rng = np.random.default_rng(seed)
    model.set_weights([scale * rng.standard_normal((side * side, classes)), scale * rng.standard_normal(classes)])
    return model


def random_split(rows: int = 40, classes: int = 3, *, side: int = 2, seed: int = 0) -> Split:
    rng = np.random.default_rng(seed)
    return Split(rng.standard_normal((rows, side, side, 1)).astype(np.float32), rng.integers(0, classes, rows))


def softmax(model: keras.Model, images: np.ndarray) -> np.ndarray:
    kernel, bias = (weight.astype(np.float64) for weight in model.get_weights())
    scores = np.exp(np.asarray(images, np.float64).reshape(len(images), -1) @ kernel + bias)
    return scores / scores.sum(1, keepdims=True)


def two_layers(seed: int = 0) -> keras.Model:
    """Two dense layers with a strong bias, whose predictions move when a kernel shrinks."""
    model = keras.Sequential(
        [
            keras.Input((2, 2, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(7, activation="relu", name="hidden"),
            keras.layers.Dense(3, name="out"),
        ]
    )
    rng = np.random.default_rng(seed)
    model.set_weights([rng.standard_normal(weight.shape) for weight in model.get_weights()])
    return model


def projected_weights(
    weights: Sequence[np.ndarray], images: np.ndarray, alpha: float, layers: Sequence[str] = ("hidden", "out")
) -> list[np.ndarray]:
    """What SAP must make of the weights of `two_layers`, with rows from the network as it is."""
    first, bias, second, last = (weight.astype(np.float64) for weight in weights)
    rows = images.reshape(len(images), -1).astype(np.float64)
    hidden = np.maximum(rows @ first + bias, 0)
    return [
        by_svd(rows, first, alpha) if "hidden" in layers else first,
        bias,
        by_svd(hidden, second, alpha) if "out" in layers else second,
        last,
    ]


def labelled_by(weights: Sequence[np.ndarray], images: np.ndarray) -> Split:
    """Validation rows on which the network with these weights is perfect."""
    first, bias, second, last = weights
    scores = np.maximum(images.reshape(len(images), -1) @ first + bias, 0) @ second + last
    return Split(images, scores.argmax(1))


def attached(model: keras.Model, train: Split, validation: Split, **settings: Any) -> ScaledActivationProjection:
    callback = ScaledActivationProjection(train, validation, **settings)
    callback.set_model(model)
    return callback


def holds(report: ProjectionReport, model: keras.Model, validation: Split, before: Sequence[np.ndarray]) -> None:
    """What every projection promises."""
    assert report.validation_accuracy_after == accuracy(model, validation)
    assert report.validation_accuracy_after >= report.validation_accuracy_before
    assert report.validation_accuracy_after == max(row["validation_accuracy"] for row in report.history)
    assert report.history[0]["validation_accuracy"] == report.validation_accuracy_before
    assert [row["step"] for row in report.history] == list(range(len(report.history)))
    assert report.applied == (not same(before, model.get_weights())) == bool(report.alphas)
    assert report.applied == (report.status is OutcomeStatus.IMPROVED)
    if report.applied:
        assert report.validation_accuracy_after > report.validation_accuracy_before
    details = report.details()
    assert json.loads(json.dumps(details)) == details
    assert json.loads(json.dumps(list(report.history))) == list(report.history)
    for row in details["layers"]:
        assert row["route"] in ROUTES and row["rows"] > 0 and row["columns"] > 0
        assert row["kept"] is None or 0 <= row["kept"] <= 1
        assert len(row["ranks"]) == len(row["ratios"]) and row["ranks"][0] == 1
        assert np.all(np.diff(row["ranks"]) > 0) and row["ranks"][-1] <= row["columns"]
        assert np.all(np.diff(row["ratios"]) <= 1e-12) and 0 <= row["ratios"][-1] <= row["ratios"][0] <= 1
