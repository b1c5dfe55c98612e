"""What a user gives, in whatever form: data, a model's number of classes, and validation rows where none are given."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from unlearning.data import ImageData, load_data, reads_images
from unlearning.data.settings import ColorMode
from unlearning.data.streamed import as_classes, from_mapping, gather, is_batched
from unlearning.errors import InputError
from unlearning.streams import stream
from unlearning.task import Split, check_split

if TYPE_CHECKING:
    import keras

logger = logging.getLogger(__name__)

Data = Any
"""Rows with their labels: an image set, a split, `(images, labels)`, a `tf.data.Dataset` or `keras.utils.PyDataset` of
batches, or a source as `load_data` takes it."""

HELD_OUT = 0.15
"""Share of the training rows that validates where no validation rows are given, as where a source has one part."""
MOST_HELD_OUT = 5000
"""No more than this many of them."""

_SCALING = ("Rescaling", "Normalization", "BatchNormalization", "LayerNormalization", "Lambda")


def open_data(data: Data, model: keras.Model) -> Data:
    """Returns data, loaded where they are a source: images of a folder as the model takes them; see `input_images`."""
    if not isinstance(data, str | os.PathLike):
        return data
    if not reads_images(os.fspath(data)):
        return load_data(data)
    check_scale(model)
    mode, size = input_images(model)
    return load_data(data, color_mode=mode, image_size=size)


def check_scale(model: keras.Model) -> None:
    """Warns where a model takes the bytes of image files as they are, since many are trained on rows scaled before."""
    import keras

    kinds = tuple(getattr(keras.layers, name) for name in _SCALING)
    first = model
    while first is not None and first._layers:  # the first layer that has weights or scales, at any depth
        if any(not isinstance(one, keras.Layer) for one in getattr(first, "operations", ())):
            return  # arithmetic on what comes in, which may be a scaling
        inner = first.layers if isinstance(first, keras.Model) else first._flatten_layers(False, recursive=False)
        first = next(
            (one for one in inner if one.weights or any(isinstance(x, kinds) for x in one._flatten_layers())), None
        )
    if isinstance(first, kinds):
        return
    logger.warning(
        "The images are read as numbers from 0 to 255, and the model does not scale what it takes. If it was trained "
        "on scaled images, such as 0 to 1, give it those, as a .npz file."
    )


def input_images(model: keras.Model) -> tuple[ColorMode | None, tuple[int, int] | None]:
    """Returns what images a model takes: their colours, and their height and width; None for any."""
    from unlearning.interop import has_graph

    shape = model.input_shape if has_graph(model) else None
    if not isinstance(shape, tuple) or len(shape) != 4:
        return None, None
    modes: dict[int | None, ColorMode] = {1: "grayscale", 3: "rgb", 4: "rgba"}
    return modes.get(shape[3]), None if None in shape[1:3] else shape[1:3]


def take_data(data: Data) -> tuple[Split, Split | None, int | None]:
    """Takes data apart, whatever form they come in.

    Passes on an `InputError` if they have none of these forms, or no row.

    Args:
        data: See `Data`.

    Returns:
        The training rows; validation rows and number of classes where the data know them, else None.
    """
    if isinstance(data, str | os.PathLike):
        data = load_data(data)
    if isinstance(data, ImageData):
        return data.train, data.validation, data.num_classes
    return take_rows("data", data), None, None


def take_rows(name: str, part: Any) -> Split:
    """Returns rows with their labels as a split.

    Args:
        name: What they are, for messages.
        part: A split, or images and labels in a tuple or list.

    Returns:
        The split.

    Raises:
        InputError: If it is neither, or has no row.
    """
    if is_batched(part):
        part = gather(part)
    if isinstance(part, tuple | list) and len(part) == 2:
        images, labels = part
        images = from_mapping(images) if hasattr(images, "shape") else np.asarray(images)
        part = Split(images, as_classes(labels))
    if not isinstance(part, Split):
        forms = "a Split, a tuple (images, labels), a tf.data.Dataset or a PyDataset of batches"
        if name == "data":
            forms += ", an image set or a source that load_data takes ('digits', a .npz file, a folder)"
        raise InputError(name, forms, type(part).__name__)
    return check_split(name, part)


def check_model(model: keras.Model, *, trained_on: bool = False) -> None:
    """Looks at a model before anything is computed with it.

    Args:
        model: What was given as a model.
        trained_on: Whether its weights are to be changed.

    Raises:
        InputError: If it is no Keras model, takes more than one input, has weights that are not finite, or none that
            may be changed.
    """
    import keras

    from unlearning.interop import has_graph

    if not isinstance(model, keras.Model):
        raise InputError("model", "a Keras model, such as load_model('model.keras') returns", type(model).__name__)
    if has_graph(model) and model.built and len(model.inputs) != 1:
        names = ", ".join(tensor.name for tensor in model.inputs)
        raise InputError(
            "model",
            "a model with one input (give several as one array, which the model takes apart)",
            f"{len(model.inputs)} inputs: {names}",
        )
    for weight in model.weights:
        values = weight.numpy()
        if values.dtype.kind not in "iub" and not np.isfinite(values.astype(np.float64)).all():
            raise InputError(
                f"The model {model.name!r} has weights that are not finite (in {weight.path}): its training has "
                "diverged, and there is nothing to repair. Give a model from before that, or train it again with a "
                "smaller learning rate."
            )
    if trained_on and model.built and not model.trainable_weights:
        raise InputError(
            f"All layers of the model {model.name!r} are frozen, so that nothing may be changed. Set trainable = True "
            "for the layers that a repair may change, and save the model again."
        )


def count_classes(model: keras.Model, train: Split) -> int:
    """Returns the number of a classifier's outputs.

    Args:
        model: A built Keras model.
        train: A few of its rows are tried.

    Returns:
        The number.

    Raises:
        InputError: If it has not one score a class.
    """
    from unlearning.interop import score_few

    scores = score_few(model, train.images, None)
    if scores.ndim != 2:
        raise InputError("model", "a classifier with one output a class", f"outputs of shape {scores.shape[1:]}")
    return int(scores.shape[1])


def hold_out(labels: np.ndarray, avoided: np.ndarray, seed: int) -> np.ndarray:
    """Draws the training rows that validate where no validation rows are given, and warns of what they are worth.

    Args:
        labels: The given labels of the training rows, int64 `(rows,)`.
        avoided: Row numbers that must not be among them: flagged or suspected ones.
        seed: Seed of the draw.

    Returns:
        Ascending row numbers, each class in proportion; a class keeps at least one row.

    Raises:
        InputError: If too few rows are left to draw from.
    """
    share = min(HELD_OUT, MOST_HELD_OUT / len(labels))
    free = np.setdiff1d(np.arange(len(labels)), avoided)
    order = stream(seed, "validation rows").permutation(free)
    parts = []
    for label in np.unique(labels[free]):
        rows = order[labels[order] == label]
        spared = len(rows) == np.count_nonzero(labels == label)  # no flagged row stays behind in its stead
        parts.append(rows[: min(len(rows) - spared, max(1, round(share * len(rows))))])
    drawn = np.sort(np.concatenate(parts)) if parts else free
    if len(drawn) < 2:
        raise InputError(
            f"No validation rows are given, and of {len(labels)} training rows too few are not flagged to hold some "
            "out. Give validation=(images, labels), rows that the model was not trained on."
        )
    logger.warning(
        "No validation rows are given: %d training rows, none of them flagged or suspected, are held out of the repair "
        "to choose and to decide. The model was trained on them, wrong labels included, and knows them by heart: they "
        "overrate it, so that a good repair may be refused. Give validation=(images, labels), rows that it was not "
        "trained on.",
        len(drawn),
    )
    return drawn
