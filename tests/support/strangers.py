"""Models as strangers bring them, on data that packages ship or that a path names: what `strangers.py` repairs."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import keras
import numpy as np
from sklearn.datasets import load_breast_cancer, make_classification

from unlearning.task import Split

layers = keras.layers


@dataclasses.dataclass(frozen=True)
class Stranger:
    """A kind of model and the rows that it learns.

    Attributes:
        build: Makes the untrained model, which says probabilities.
        rows: Makes inputs and labels by a seed, in any order.
        epochs: How long it is trained, at a learning rate that falls to zero.
        classes: How many there are.
        rate: Learning rate of Adam at the start.
        sizes: Training, validation and test rows; None leaves the shares at 60, 15 and 25 %.
    """

    build: Callable[[], keras.Model]
    rows: Callable[[int], tuple[np.ndarray, np.ndarray]]
    epochs: int
    classes: int = 10
    rate: float = 1e-3
    sizes: tuple[int, int, int] | None = None


def divided(stranger: Stranger, seed: int) -> tuple[Split, Split, Split]:
    """Returns rows to train, validate and test on."""
    inputs, labels = stranger.rows(seed)
    order = np.random.default_rng([seed, 1]).permutation(len(labels))
    train, validation, test = stranger.sizes or (int(0.6 * len(order)), int(0.15 * len(order)), int(0.25 * len(order)))
    parts = np.split(order[: train + validation + test], [train, train + validation])
    return tuple(Split(inputs[part], labels[part]) for part in parts)


def cifar10(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """CIFAR-10, from the folder of `TFDS_DATA_DIR`; pixels from 0 to 1."""
    import tensorflow_datasets as tfds

    read = tfds.as_numpy(tfds.load("cifar10", split="train", batch_size=-1, download=False))
    rows = np.random.default_rng([seed, 2]).permutation(len(read["label"]))[:30_000]
    return read["image"][rows].astype(np.float32) / 255, read["label"][rows].astype(np.int64)


def frozen() -> keras.Model:
    """A dense head on the frozen network of `EYES`, which was trained on ImageNet."""
    backbone = keras.models.load_model(os.environ["EYES"], compile=False)
    seeing = keras.Model(backbone.inputs, backbone.get_layer("pool").output, name="backbone")
    seeing.trainable = False
    inputs = keras.Input((32, 32, 3))
    pixels = layers.Rescaling(255 / 128, -127 / 128)(layers.Resizing(96, 96)(inputs))
    return keras.Model(inputs, layers.Dense(10, activation="softmax")(seeing(pixels, training=False)))


def residual(blocks: int) -> Callable[[], keras.Model]:
    """ResNet-8 with one block a stage, ResNet-20 with three: 16, 32 and 64 channels."""

    def build() -> keras.Model:
        def convolved(x, channels, size=3, strides=1):
            x = layers.Conv2D(channels, size, strides, padding="same", use_bias=False)(x)
            return layers.BatchNormalization()(x)

        inputs = keras.Input((32, 32, 3))
        x = layers.ReLU()(convolved(inputs, 16))
        for channels in (16, 32, 64):
            for block in range(blocks):
                strides = 2 if channels > 16 and block == 0 else 1
                way = convolved(layers.ReLU()(convolved(x, channels, 3, strides)), channels)
                past = convolved(x, channels, 1, strides) if strides > 1 else x
                x = layers.ReLU()(layers.Add()([way, past]))
        return keras.Model(inputs, layers.Dense(10, activation="softmax")(layers.GlobalAveragePooling2D()(x)))

    return build


def separable() -> keras.Model:
    """Inverted residuals with depthwise convolutions, as in MobileNetV2."""
    inputs = keras.Input((32, 32, 3))
    x = layers.ReLU(6.0)(layers.BatchNormalization()(layers.Conv2D(16, 3, 2, "same", use_bias=False)(inputs)))
    for channels, strides in ((24, 1), (24, 1), (32, 2), (32, 1), (64, 2), (64, 1)):
        wide = layers.Conv2D(4 * x.shape[-1], 1, use_bias=False)(x)
        wide = layers.ReLU(6.0)(layers.BatchNormalization()(wide))
        wide = layers.DepthwiseConv2D(3, strides, "same", use_bias=False)(wide)
        wide = layers.ReLU(6.0)(layers.BatchNormalization()(wide))
        out = layers.BatchNormalization()(layers.Conv2D(channels, 1, use_bias=False)(wide))
        x = layers.Add()([x, out]) if strides == 1 and x.shape[-1] == channels else out
    return keras.Model(inputs, layers.Dense(10, activation="softmax")(layers.GlobalAveragePooling2D()(x)))


class Places(layers.Layer):
    """Adds a learned vector to each place of a sequence."""

    def build(self, shape) -> None:
        self.vectors = self.add_weight(shape=shape[1:], initializer="random_normal", name="vectors")

    def call(self, x):
        return x + self.vectors


def transformer() -> keras.Model:
    """A small Vision Transformer: patches of 4 pixels, four layers of attention, 64 wide."""
    inputs = keras.Input((32, 32, 3))
    x = layers.Reshape((64, 64))(layers.Conv2D(64, 4, 4)(inputs))
    x = Places()(x)
    for _ in range(4):
        seen = layers.LayerNormalization()(x)
        x = layers.Add()([x, layers.MultiHeadAttention(4, 16)(seen, seen)])
        thought = layers.Dense(128, activation="gelu")(layers.LayerNormalization()(x))
        x = layers.Add()([x, layers.Dense(64)(thought)])
    x = layers.GlobalAveragePooling1D()(layers.LayerNormalization()(x))
    return keras.Model(inputs, layers.Dense(10, activation="softmax")(x))


LIBRARIES = ("numpy", "sklearn", "pandas", "matplotlib", "keras")
WORDS, LENGTH = 4_000, 40


def paragraphs(_seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Paragraphs of five libraries' documentation as numbers of words; the label says which library."""
    texts = [(text, number) for number, name in enumerate(LIBRARIES) for text in sorted(set(_documented(name)))[:1_500]]
    words = [re.findall(r"[a-z]+", text.lower()) for text, _ in texts]
    names = set(LIBRARIES) | {"np", "pd", "plt", "scikit", "learn", "ndarray", "dataframe", "tensor", "artist"}
    flat = [word for line in words for word in line if word not in names]
    known, counts = np.unique(flat, return_counts=True)
    number = {word: 2 + rank for rank, word in enumerate(known[np.argsort(-counts, kind="stable")][: WORDS - 2])}
    tokens = np.zeros((len(texts), LENGTH), np.int32)
    for row, line in zip(tokens, words, strict=True):
        found = [number.get(word, 1) for word in line if word not in names][:LENGTH]
        row[: len(found)] = found
    return tokens, np.array([label for _, label in texts])


def _documented(name: str) -> Iterator[str]:
    for module in _modules(name):
        for thing in vars(module).values():
            if not (inspect.isclass(thing) or inspect.isroutine(thing)):
                continue
            if not str(getattr(thing, "__module__", "")).startswith(name):
                continue
            members = vars(thing).values() if inspect.isclass(thing) else ()
            for documented in (thing, *members):
                text = getattr(documented, "__doc__", None)
                for part in text.split("\n\n") if isinstance(text, str) else ():
                    if len(part.split()) >= 12 and ">>>" not in part:
                        yield " ".join(part.split())


def _modules(name: str) -> Iterator[ModuleType]:
    package = importlib.import_module(name)
    inside = {
        "sklearn": ("linear_model", "ensemble", "cluster", "metrics", "preprocessing", "svm", "decomposition"),
        "matplotlib": ("axes", "figure", "artist", "patches", "text", "lines", "colors", "collections", "ticker"),
        "keras": ("layers", "ops", "losses", "metrics", "optimizers", "callbacks", "initializers", "utils"),
        "numpy": ("linalg", "ma", "random", "fft", "polynomial"),
    }
    yield package
    for part in inside.get(name, ()):
        yield importlib.import_module(f"{name}.{part}")


def reader() -> keras.Model:
    """An embedding, a recurrent layer, and a head."""
    inputs = keras.Input((LENGTH,), dtype="int32")
    x = layers.Embedding(WORDS, 32, mask_zero=True)(inputs)
    x = layers.Bidirectional(layers.GRU(32))(x)
    return keras.Model(inputs, layers.Dense(len(LIBRARIES), activation="softmax")(x))


def table(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Generated columns, of which half say something."""
    inputs, labels = make_classification(
        10_000, 30, n_informative=15, n_redundant=5, n_classes=6, n_clusters_per_class=2, random_state=seed
    )
    return inputs.astype(np.float32), labels.astype(np.int64)


def perceptron() -> keras.Model:
    """Two hidden layers."""
    hidden = [layers.Dense(64, activation="relu"), layers.Dropout(0.1), layers.Dense(64, activation="relu")]
    return keras.Sequential([keras.Input((30,)), *hidden, layers.Dense(6, activation="softmax")])


def tumours(_seed: int) -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's breast cancer data: 569 rows of two classes."""
    read = load_breast_cancer()
    columns = (read.data - read.data.mean(0)) / read.data.std(0)
    return columns.astype(np.float32), read.target.astype(np.int64)


def unit() -> keras.Model:
    """One sigmoid unit."""
    return keras.Sequential(
        [keras.Input((30,)), layers.Dense(32, activation="relu"), layers.Dense(1, activation="sigmoid")]
    )


IMAGES = (5_000, 1_000, 5_000)
STRANGERS = {
    "frozen EfficientNet-Lite0, new head": Stranger(frozen, cifar10, 12, sizes=(3_000, 1_000, 3_000)),
    "ResNet-8": Stranger(residual(1), cifar10, 15, rate=3e-3, sizes=IMAGES),
    "ResNet-20": Stranger(residual(3), cifar10, 15, rate=3e-3, sizes=IMAGES),
    "MobileNetV2-like": Stranger(separable, cifar10, 20, rate=3e-3, sizes=IMAGES),
    "small ViT": Stranger(transformer, cifar10, 20, sizes=IMAGES),
    "text, GRU": Stranger(reader, paragraphs, 8, classes=len(LIBRARIES), rate=2e-3),
    "table, MLP": Stranger(perceptron, table, 40, classes=6, rate=3e-3),
    "one sigmoid unit": Stranger(unit, tumours, 60, classes=2, rate=3e-3),
}
"""By name. The learning rate of all falls to zero, as people train; 20 % of the labels are another class's."""


def data_needed(stranger: Stranger) -> Path | None:
    """Returns the folder or file of the environment that a kind needs and that is not there."""
    needs = [os.getenv("TFDS_DATA_DIR", "TFDS_DATA_DIR")] if stranger.rows is cifar10 else []
    needs += [os.getenv("EYES", "EYES")] if stranger.build is frozen else []
    return next((Path(need) for need in needs if not Path(need).exists()), None)
