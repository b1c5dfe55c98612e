"""Curvature in Kronecker factors: one small matrix for what enters a layer, one for what its outputs do to the logits.

For a dense layer with inputs `a` (a 1 appended for the bias) and pre-activations `s = W' a`, the block of the
Gauss-Newton matrix that belongs to `W` is `E[a a' (x) J' B J]`, where `J` is the derivative of the logits by `s` and
`B` what the loss makes of them. Taking the two for independent (Martens and Grosse, ICML 2015),

    block ~ A (x) G,   A = E[a a'],   G = E[J' B J],

so that a damped solve is two Cholesky factorisations of the size of a layer, and no iteration (`BlockSolver`):

    (A (x) G + damping I)^-1 vec(D)  ~  (A + pi sqrt(damping) I)^-1 D (G + sqrt(damping) / pi I)^-1,
    pi^2 = (trace A / dim A) / (trace G / dim G).

A convolution multiplies the patches `a_t` of many positions `t` (Grosse and Martens, ICML 2016): with derivatives of
different positions uncorrelated, `A = E[sum_t a_t a_t']` and `G = E[mean_t g_t g_t']`.

Blocks of different layers do not see each other, and parameters of other layers (normalisation, embeddings) stay.

`G` takes a square root of `B`: both choices of `B` are `sum_k q_k (e_k - c)(e_k - c)'`, with `q = c = p` for the
Gauss-Newton matrix, and `q_k = 1/2`, `c = 1/K` for the bound (see `unlearning.influence.objective`). Up to
`EXACT_CLASSES` classes every term is passed back; above, random signs mix them, which is right in the mean.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import scipy.linalg
import tensorflow as tf

from unlearning.errors import InputError
from unlearning.influence.head import Head
from unlearning.influence.objective import Objective
from unlearning.influence.settings import Curvature
from unlearning.interop import observing
from unlearning.profiling import spending

EXACT_CLASSES = 16
"""Most classes for which every term of the output curvature is passed back."""

_KINDS = (keras.layers.Dense, keras.layers.Conv2D)


@dataclasses.dataclass(frozen=True, eq=False)
class Block:
    """The factors of one layer.

    Attributes:
        name: The layer.
        inputs: `A`, float64 of shape `(a, a)`, with the bias' row and column last where there is one.
        outputs: `G`, float64 of shape `(g, g)`.
        kernel: Position of the kernel among the head's variables.
        bias: That of the bias; None without one.
    """

    name: str
    inputs: np.ndarray
    outputs: np.ndarray
    kernel: int
    bias: int | None


class KroneckerFactors:
    """Measures the factors of a head's layers over the rows of an objective.

    Args:
        objective: Its rows and weights are averaged over; labels do not matter.
        curvature: `"bound"` or `"gauss-newton"`.
        rng: Draws the signs where there are many classes.

    Attributes:
        passes: What the last measuring cost, in passes back over the rows.

    Raises:
        InputError: If none of the head's parameters belongs to a layer that has factors, or the curvature has none.
    """

    def __init__(self, objective: Objective, curvature: Curvature, rng: np.random.Generator) -> None:
        if curvature == "hessian":
            raise InputError("curvature", "'bound' or 'gauss-newton' with solver='kronecker'", curvature)
        self._objective, self._curvature = objective, curvature
        self._head = objective.head
        self._signs = tf.random.Generator.from_seed(int(rng.integers(2**31)))
        self._layers = _layers(self._head)
        if not self._layers:
            raise InputError("solver", "'cg', as no layer that may move is a Dense or a Conv2D", "'kronecker'")
        self.passes = 0
        self._sums = tf.function(self._measure, autograph=False)

    @spending("curvature")
    def measure(self, parameters: tf.Tensor) -> list[Block]:
        """Returns the factors at some parameters, shape `(size,)`, one block a layer."""
        inputs, outputs, weight = self._sums(parameters)
        blocks = []
        for (layer, kernel, bias), a, g in zip(self._layers, inputs, outputs, strict=True):
            total = float(weight)
            blocks.append(Block(layer.name, _float64(a) / total, _float64(g) / total, kernel, bias))
        return blocks

    def _measure(self, parameters: tf.Tensor) -> tuple[list[tf.Tensor], list[tf.Tensor], tf.Tensor]:
        tensors = self._head.unflatten(parameters)

        def body(images: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor) -> list[tf.Tensor]:
            entered: dict[str, tf.Tensor] = {}
            left: dict[str, tf.Tensor] = {}
            with tf.GradientTape(persistent=True) as tape:
                tape.watch(tensors)
                with _recording([layer for layer, _, _ in self._layers], entered, left):
                    logits = self._head.logits(tensors, images)
            weights = tf.maximum(weights, 0)
            summed_a, summed_g = [], []
            for layer, _, bias in self._layers:
                rows = _rows(layer, entered[layer.name], bias is not None)  # (B, T, a)
                rows *= tf.sqrt(weights)[:, tf.newaxis, tf.newaxis]
                rows = tf.reshape(rows, [-1, rows.shape[-1]])  # one plain product: no (B, a, a) on the way
                summed_a.append(tf.matmul(rows, rows, transpose_a=True))
                summed_g.append(0.0)
            names = [layer.name for layer, _, _ in self._layers]
            for root in self._roots(logits):
                cotangent = tf.sqrt(weights)[:, tf.newaxis] * root
                slopes = tape.gradient(logits, [left[n] for n in names], output_gradients=cotangent)
                for position, slope in enumerate(slopes):
                    flat = tf.reshape(slope, [tf.shape(slope)[0], -1, slope.shape[-1]])
                    count = tf.cast(tf.shape(flat)[1], flat.dtype)
                    flat = tf.reshape(flat, [-1, slope.shape[-1]])
                    summed_g[position] += tf.matmul(flat, flat, transpose_a=True) / count
            return [*summed_a, *summed_g, tf.reduce_sum(weights)]

        sums = self._objective.sums(body, self._like(tensors))
        half = len(self._layers)
        return sums[:half], sums[half : 2 * half], sums[-1]

    def _like(self, tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        zeros = []
        for _, kernel, bias in self._layers:
            size = int(np.prod(tensors[kernel].shape[:-1])) + (bias is not None)
            zeros.append(tf.zeros([size, size], self._head.dtype))
        for _, kernel, _ in self._layers:
            size = tensors[kernel].shape[-1]
            zeros.append(tf.zeros([size, size], self._head.dtype))
        return [*zeros, tf.zeros([], self._head.dtype)]

    def _roots(self, logits: tf.Tensor) -> Iterator[tf.Tensor]:
        """Yields tensors `(B, K)` whose outer products sum to `B`."""
        classes = logits.shape[-1]
        self.passes = min(classes, EXACT_CLASSES)
        if self._curvature == "bound":
            share = tf.fill(tf.shape(logits), tf.cast(0.5, logits.dtype))
            centre = tf.fill(tf.shape(logits), tf.cast(1 / classes, logits.dtype))
        else:
            share = centre = self._objective.smoothed(logits)
        if classes <= EXACT_CLASSES:
            for k in range(classes):
                unit = tf.one_hot([k], classes, dtype=logits.dtype)
                yield tf.sqrt(share[:, k : k + 1]) * (unit - centre)
            return
        for _ in range(EXACT_CLASSES):
            mixed = tf.sign(self._signs.uniform(tf.shape(logits), -1, 1, logits.dtype)) * tf.sqrt(share)
            yield (mixed - centre * tf.reduce_sum(mixed, -1, keepdims=True)) / EXACT_CLASSES**0.5


class BlockSolver:
    """The damped system of a layer's factors, factorised once and solved for any right-hand side.

    Args:
        head: The head that the parameters belong to.
        blocks: Its factors.
        damping: Positive; what stands for it on the diagonal is split between the two factors by their traces.
        others: What parameters that belong to none of the layers are multiplied with.
    """

    def __init__(self, head: Head, blocks: Sequence[Block], damping: float, others: float = 0.0) -> None:
        self._head, self._others = head, others
        self._parts = []
        for block in blocks:
            left, right = _split(block, damping)
            self._parts.append((block, _factorised(block.inputs, left), _factorised(block.outputs, right)))

    def __call__(self, vector: tf.Tensor) -> tf.Tensor:
        """Solves for a right-hand side, shape `(size,)`, layer by layer."""
        parts = [part.numpy().astype(np.float64) for part in self._head.unflatten(vector)]
        solved = [self._others * part for part in parts]
        for block, inputs, outputs in self._parts:
            shape = parts[block.kernel].shape
            right = parts[block.kernel].reshape(-1, shape[-1])
            if block.bias is not None:
                right = np.concatenate([right, parts[block.bias][np.newaxis]])
            found = scipy.linalg.cho_solve(outputs, scipy.linalg.cho_solve(inputs, right).T).T
            if block.bias is not None:
                found, solved[block.bias] = found[:-1], found[-1]
            solved[block.kernel] = found.reshape(shape)
        return tf.cast(self._head.flatten([tf.constant(part) for part in solved]), self._head.dtype)


def has_factors(head: Head) -> bool:
    """Whether any layer of a head has factors."""
    return bool(_layers(head))


def largest_eigenvalue(blocks: Sequence[Block]) -> float:
    """Returns the largest eigenvalue of all blocks; NaN where a factor is not finite."""
    return float(np.max([_largest(block.inputs) * _largest(block.outputs) for block in blocks]))


def _split(block: Block, damping: float) -> tuple[float, float]:
    """What is added to the diagonals of the two factors, `pi sqrt(damping)` and `sqrt(damping) / pi`."""
    a, g = np.trace(block.inputs) / len(block.inputs), np.trace(block.outputs) / len(block.outputs)
    pi = np.sqrt(max(a, 1e-30) / max(g, 1e-30))
    return float(pi * np.sqrt(damping)), float(np.sqrt(damping) / pi)


def _factorised(matrix: np.ndarray, added: float) -> tuple[np.ndarray, bool]:
    return scipy.linalg.cho_factor(matrix + added * np.eye(len(matrix)), lower=True, overwrite_a=True)


def _largest(matrix: np.ndarray) -> float:
    size = len(matrix)
    if not np.isfinite(matrix).all():
        return np.nan
    return float(scipy.linalg.eigh(matrix, eigvals_only=True, subset_by_index=(size - 1, size - 1))[0])


def _float64(tensor: tf.Tensor) -> np.ndarray:
    return tensor.numpy().astype(np.float64)


def _layers(head: Head) -> list[tuple[keras.layers.Layer, int, int | None]]:
    """The layers that have factors, with the positions of kernel and bias among the head's variables."""
    positions = {id(variable): number for number, variable in enumerate(head.variables)}
    found = []
    for layer in head.layers():
        if not isinstance(layer, _KINDS) or id(layer.kernel) not in positions:
            continue
        if getattr(layer, "lora_enabled", False) or getattr(layer, "quantization_mode", None):
            continue
        if isinstance(layer, keras.layers.Conv2D) and (layer.groups > 1 or layer.data_format != "channels_last"):
            continue
        bias = positions.get(id(layer.bias)) if layer.use_bias else None
        found.append((layer, positions[id(layer.kernel)], bias))
    return found


def _rows(layer: keras.layers.Layer, inputs: tf.Tensor, with_bias: bool) -> tf.Tensor:
    """The rows of numbers that a kernel multiplies, `(B, T, a)`, with a 1 appended for the bias."""
    if isinstance(layer, keras.layers.Conv2D):
        patches = tf.image.extract_patches(
            inputs,
            sizes=[1, *layer.kernel_size, 1],
            strides=[1, *layer.strides, 1],
            rates=[1, *layer.dilation_rate, 1],
            padding=layer.padding.upper(),
        )
        rows = tf.reshape(patches, [tf.shape(patches)[0], -1, patches.shape[-1]])
    else:
        rows = tf.reshape(inputs, [tf.shape(inputs)[0], -1, inputs.shape[-1]])
    return tf.concat([rows, tf.ones_like(rows[..., :1])], axis=-1) if with_bias else rows


@contextmanager
def _recording(
    layers: Sequence[keras.layers.Layer], entered: dict[str, tf.Tensor], left: dict[str, tf.Tensor]
) -> Iterator[None]:
    """Notes what enters layers, and what they put out before their activation, while a model is called."""

    def seen(layer: keras.layers.Layer, call: Callable) -> Callable:
        def noted(inputs: Any, *args: Any, **kwargs: Any) -> Any:
            entered[layer.name] = inputs
            return call(inputs, *args, **kwargs)

        return noted

    def activated(layer: keras.layers.Layer, activation: Callable) -> Callable:
        def noted(values: Any) -> Any:
            left[layer.name] = values
            return activation(values)

        return noted

    activations = [(layer, layer.activation) for layer in layers]
    with observing(layers, seen):
        try:
            for layer, activation in activations:
                object.__setattr__(layer, "activation", activated(layer, activation))
            yield
        finally:
            for layer, activation in activations:
                object.__setattr__(layer, "activation", activation)
