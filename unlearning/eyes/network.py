"""A Keras network as eyes: the mean over the picture of what each of its blocks puts out.

What the last layer sees has been shaped for the classes that the network was trained on; the blocks below see what is
in other pictures, too. On CIFAR-10 the means of all block outputs of EfficientNet-Lite0 (1,808 features) tell the
classes apart better than its 1,280 last features, for the same pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from unlearning.eyes.base import Eyes
from unlearning.eyes.scaling import SCALINGS, check_scaling, choose_scaling
from unlearning.interop import as_graph, has_graph

if TYPE_CHECKING:
    import keras

_MOST = 4096  # features; the blocks nearest to the output come first
_FEW = 3  # ends of blocks; a network with fewer is a plain stack of layers


class NetworkEyes(Eyes):
    """A Keras model that takes pictures.

    Args:
        name: What the user calls it.
        identity: See `Eyes`.
        model: The network, with a head or without.
        scaling: A name of `unlearning.eyes.scaling`, `auto`, or a function of images from 0 to 255.
    """

    def __init__(
        self, name: str, identity: str, model: keras.Model, scaling: str | Callable[[Any], Any] = "auto"
    ) -> None:
        self.name = name
        self.identity = f"{identity} {check_scaling(scaling) if isinstance(scaling, str) else 'its own'}"
        self._model, self._scaling = model, scaling
        shape = model.input_shape if has_graph(model) else (None, None, None, 3)
        if isinstance(shape, tuple) and len(shape) == 4:
            self.side = shape[1] if shape[1] == shape[2] else None
            self.channels = 1 if shape[3] == 1 else 3
        self._call: Callable[[Any], Any] | None = None

    def prepare(self, sample: np.ndarray) -> str:
        """See `Eyes.prepare`."""
        told, scaling = "", self._scaling
        if scaling == "auto":
            scaling = choose_scaling(self._model, sample)
            told = f", scaled as {scaling}"
        scale = SCALINGS[scaling] if isinstance(scaling, str) else scaling
        watched = watch_blocks(self._model)
        self._call = as_graph(lambda images: watched(scale(images)))
        return told

    def look(self, images: Any) -> np.ndarray:
        """See `Eyes.look`."""
        from keras import ops

        if self._call is None:
            self.prepare(images)
        assert self._call is not None
        return ops.convert_to_numpy(self._call(images))


def watch_blocks(model: keras.Model) -> Callable[[Any], Any]:
    """Returns a function from a network's input to the features `(rows, d)` of its blocks.

    A block ends where all that the network computes passes through one tensor, and there it is narrower than on both
    sides, or parts are added or concatenated, or several layers read it. Of a network without such places, and of one
    whose layers cannot be reached, the output is taken.
    """
    import keras
    from keras import ops

    outputs = _blocks(model) if has_graph(model) else []
    watched = keras.Model(_entry(model), outputs) if outputs else model

    def features(images: Any) -> Any:
        found = watched(images, training=False)
        parts = found if isinstance(found, list | tuple) else [found]
        pooled = [ops.mean(part, axis=tuple(range(1, len(part.shape) - 1))) for part in parts]
        return ops.concatenate([ops.cast(part, "float32") for part in pooled], axis=-1)

    return features


def _blocks(model: keras.Model) -> list[Any]:
    """The outputs of blocks, those nearest to the output first, of at most `_MOST` features."""
    passes = _bottlenecks(model)
    widths = [tensor.shape[-1] for _, tensor, _ in passes]
    last = len(passes) - 1
    chosen = []
    for place, (layer, _, readers) in enumerate(passes):
        before = next((width for width in reversed(widths[:place]) if width != widths[place]), 0)
        narrow = place < last and widths[place] < min(before, widths[place + 1])
        if narrow or readers > 1 or type(layer).__name__ in ("Add", "Concatenate", "Average"):
            chosen.append(place)
    if len(chosen) < _FEW:  # a plain stack: the end of every width
        chosen = [place for place in range(last) if widths[place] != widths[place + 1]] + [last] * (last >= 0)
    elif widths[last] <= 2 * widths[chosen[-1]] and last not in chosen:  # no wide head
        chosen.append(last)
    kept: list[Any] = []
    for place in reversed(chosen):
        kept.append(passes[place][1])
        if kept[1:] and sum(tensor.shape[-1] for tensor in kept) > _MOST:
            return kept[:-1]
    return kept


def _bottlenecks(model: keras.Model) -> list[tuple[Any, Any, int]]:
    """The layers through whose output, a picture, all passes; with that tensor and how many layers read it."""
    import keras

    layers = [layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]
    last_reader: dict[int, int] = {}
    readers: dict[int, int] = {}
    for place, layer in enumerate(layers):
        for tensor in keras.tree.flatten(layer.input):
            last_reader[id(tensor)] = place
            readers[id(tensor)] = readers.get(id(tensor), 0) + 1
    open_until, found = max((last_reader.get(id(tensor), -1) for tensor in model.inputs), default=-1), []
    for place, layer in enumerate(layers):
        outputs = keras.tree.flatten(layer.output)
        if len(outputs) == 1 and open_until <= place and len(outputs[0].shape) == 4:
            found.append((layer, outputs[0], readers.get(id(outputs[0]), 0)))
        open_until = max([open_until, *(last_reader.get(id(tensor), place) for tensor in outputs)])
    return found


def _entry(model: keras.Model) -> Any:
    """The input of a network, by itself where there is one: Keras warns of a list of one."""
    return model.inputs[0] if len(model.inputs) == 1 else model.inputs
