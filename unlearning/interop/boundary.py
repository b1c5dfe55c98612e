"""Cutting a trained model at a layer: what lies below stays, and its activations can be computed once.

Below the boundary everything runs in inference mode and never changes, so what it puts out are data: training, solving
and scoring above it cost only the part above.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from unlearning.errors import InputError
from unlearning.interop.calling import has_graph

if TYPE_CHECKING:
    import keras

ALL = "all"
"""The name that stands for every weight."""
HEAD = "head"
"""The name that stands for the dense head behind the last Flatten or global pooling layer."""
MIDDLE = "middle"
"""The name that stands for the upper half of a network whose layers shrink images; see `middle`."""

_POOLING = ("Flatten", *(f"Global{kind}Pooling{axes}D" for kind in ("Average", "Max") for axes in (1, 2)))


class Moved(NamedTuple):
    """Which parameters of a model are not what they were."""

    parameters: int
    """How many of them are in variables that changed."""
    of: int
    """How many the model trains."""
    layer: str | None
    """Name of the first layer that changed, in the model's order; None where none did."""


class Parts(NamedTuple):
    """The two parts of a model; they share its weights."""

    below: keras.Model
    """From the model's inputs to the activations."""
    above: keras.Model
    """From the activations to the model's outputs."""


def choose_boundary(model: keras.Model, name: str | None) -> str:
    """Returns the name of the first layer that may move.

    Args:
        model: A built model.
        name: A name, `"all"`, `"middle"` (see `middle`), or None or `"head"` for the dense head behind the last Flatten
            or global pooling layer (or, without one, the last layer that has weights).

    Raises:
        InputError: If the model has no such layer, or no weights to move.
    """
    import keras

    names = [layer.name for layer in model.layers]
    if name == ALL:
        return ALL
    if name == MIDDLE and name not in names:
        return middle(model)
    if name is not None and (name != HEAD or name in names):
        if name not in names:
            raise InputError("trainable_from", f"'all', 'middle', 'head' or one of the model's layers {names}", name)
        return name
    kinds = tuple(getattr(keras.layers, kind) for kind in _POOLING)
    pooling = [i for i, layer in enumerate(model.layers) if isinstance(layer, kinds)]
    behind = [
        n for n, layer in enumerate(model.layers) if layer.trainable_variables and (not pooling or n > pooling[-1])
    ]
    if not behind:
        behind = [n for n, layer in enumerate(model.layers) if layer.trainable_variables][-1:]
    if not behind:
        raise InputError("model", "a model with trainable weights", "none")
    return names[behind[0] if pooling and behind[0] > pooling[-1] else behind[-1]]


def middle(model: keras.Model) -> str:
    """Returns the layer from which on the upper half of a network lies, or `"all"`.

    Networks for images shrink them in stages, each of which begins where an image is smaller than ever before. Of these
    places in front of the head the middle one (the second of three, the second of four) is the boundary, or else the
    first layer behind it in front of which the model can be cut. Layers that do not train are always below it.

    Args:
        model: A built model.

    Returns:
        A layer's name; `"all"` for a model without a graph, where it cannot be cut there, and where no weight would lie
        below.
    """
    layers = model.layers
    trains = [number for number, layer in enumerate(layers) if layer.trainable_variables]
    if not has_graph(model) or not trains:
        return ALL
    stages = _stages(layers)
    start = max(stages[(len(stages) - 1) // 2] if stages else 0, trains[0])
    for number in range(start, trains[-1] + 1):
        try:
            if cut(model, layers[number]) is None:  # a mask leads past it
                continue
        except InputError:  # a path does
            continue
        if _first_behind(layers, number) == number:  # and not one of those before lies above it, too
            return layers[number].name if any(layer.variables for layer in layers[:number]) else ALL
    return ALL


def boundaries(model: keras.Model, most: int = 8) -> list[tuple[str, str]]:
    """Returns the places from which a model may move, from all layers to the fewest.

    Args:
        model: A built model.
        most: How many at most; where there are more, evenly spread ones, and always the named ones.

    Returns:
        Pairs of a name and a layer; the name is `"all"`, `"middle"`, `"head"`, or that of the layer.
    """
    named = {choose_boundary(model, name): name for name in (MIDDLE, HEAD, ALL)}
    if not has_graph(model):
        return [(ALL, ALL)]
    found = []
    for number, layer in enumerate(model.layers):
        large = any(len(v.shape) > 1 for v in layer.trainable_variables)  # a normalisation alone repairs nothing
        if not large and layer.name not in named:
            continue
        try:
            if cut(model, layer) is None or _first_behind(model.layers, number) != number:
                continue
        except InputError:
            continue
        found.append(layer.name)
    first = next((layer.name for layer in model.layers if layer.trainable_variables), None)
    above = {name: sum(len(layer.trainable_variables) for layer in _from(model, name)) for name in found}
    known = {above[name] for name in named if name in above}  # what moves as much as a named one says nothing new
    found = [name for name in found if name in named or (name != first and above[name] not in known)]
    kept = {found[round(i)] for i in np.linspace(0, len(found) - 1, min(most - 1, len(found)))} | set(named)
    return [(ALL, ALL), *((named.get(name, name), name) for name in found if name in kept and name != ALL)]


def _from(model: keras.Model, name: str) -> list[keras.layers.Layer]:
    """The layers from a name on."""
    return model.layers[[layer.name for layer in model.layers].index(name) :]


def _first_behind(layers: list[keras.layers.Layer], number: int) -> int:
    """The number of the first layer that gets what a layer gets: where paths part, a cut is in front of them all."""
    wanted = layers[number].input
    for other, layer in enumerate(layers[:number]):
        try:
            if layer.input is wanted and type(layer).__name__ != "InputLayer":
                return other
        except (ValueError, AttributeError):  # it was never called, or several times
            continue
    return number


def _stages(layers: list[keras.layers.Layer]) -> list[int]:
    """The numbers of the layers that give smaller images than any layer before."""
    found, smallest = [], None
    for number, layer in enumerate(layers):
        try:
            before, after = _positions(layer.input), _positions(layer.output)
        except (ValueError, AttributeError):  # it was never called, or several times
            continue
        if before is None or after is None:
            continue
        smallest = before if smallest is None else smallest
        if after < smallest:
            found.append(number)
            smallest = after
    return found


def _positions(tensor: Any) -> int | None:
    """The number of positions of an image or a sequence, without batch and channels; None of anything else."""
    import keras

    shape = getattr(tensor, "shape", ())
    if len(shape) < 3:
        return None
    places = shape[1:-1] if keras.config.image_data_format() == "channels_last" else shape[2:]
    return None if None in places else math.prod(places)


def moved_parameters(before: keras.Model, after: keras.Model) -> Moved | None:
    """Compares the trainable weights of two models of one architecture, variable by variable.

    Args:
        before: A built model.
        after: The same model with other weights.

    Returns:
        What changed; None where the second is another network, such as an ensemble.
    """
    if [v.shape for v in before.trainable_variables] != [v.shape for v in after.trainable_variables]:
        return None
    moved, layer = 0, None
    names = [each.name for each in before.layers for _ in each.trainable_variables]
    pairs = zip(before.trainable_variables, after.trainable_variables, strict=True)
    for number, (old, new) in enumerate(pairs):
        if not np.array_equal(np.asarray(old), np.asarray(new)):
            moved += int(np.prod(old.shape))
            layer = layer or (names[number] if len(names) == len(before.trainable_variables) else old.path)
    return Moved(moved, sum(int(np.prod(v.shape)) for v in before.trainable_variables), layer)


def between(model: keras.Model, lower: str, upper: str) -> keras.Model | None:
    """Returns the part of a model between two of the places where it can be cut.

    Args:
        model: A model with a graph.
        lower: Name of the first layer of the part.
        upper: Name of the first layer behind it.

    Returns:
        A model from what enters the one to what enters the other; None where the second is not behind the first.
    """
    import keras

    if lower == upper:
        return None
    try:
        return keras.Model(model.get_layer(lower).input, model.get_layer(upper).input)
    except (ValueError, AttributeError):
        return None


def cut(model: keras.Model, layer: keras.layers.Layer) -> Parts | None:
    """Splits a graph into the part before a layer and the part from it on; None where a mask crosses the cut.

    A mask (of an `Embedding` or a `Masking` layer) is made from the inputs and taken by layers behind the cut, beside
    the activations. Such a part takes the inputs themselves.

    Args:
        model: A Sequential or functional model with one input.
        layer: One of its layers, behind the first.

    Returns:
        The parts, or None.

    Raises:
        InputError: If not every path to the output passes through the layer.
    """  # noqa: DOC501 (the ValueError goes no further)
    import keras

    try:
        boundary = layer.input
        if isinstance(boundary, (list, tuple)):
            # Attention takes the same features several times.
            data = {id(part): part for part in boundary if keras.backend.standardize_dtype(part.dtype) != "bool"}
            if len(data) > 1:
                raise ValueError("it has several inputs")
            if any(id(part) not in data for part in boundary):
                return None
            (boundary,) = data.values()
        try:
            return Parts(keras.Model(model.inputs, boundary), keras.Model(boundary, model.outputs[0]))
        except ValueError:
            if getattr(boundary, "_keras_mask", None) is not None:
                return None
            raise
    except (ValueError, AttributeError) as error:
        raise InputError(
            f"Cannot cut the model in front of layer {layer.name!r}: {str(error).splitlines()[0]}. "
            "Choose a layer through which every path to the output passes, or 'all'."
        ) from error
