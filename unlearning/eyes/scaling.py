"""What numbers a network expects where its file does not say.

Networks are trained on pixels from 0 to 255, 0 to 1, -1 to 1, or less the mean of ImageNet's; a network that is given
others sees next to nothing. A network with batch normalisation says which: the mean and variance that reach its first
such layer were recorded while it was trained, and under the right scaling they are met again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from unlearning.errors import InputError

if TYPE_CHECKING:
    import keras

_MEAN, _SPREAD = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)
_BLUE_FIRST = np.array([103.939, 116.779, 123.68], np.float32)

SCALINGS: dict[str, Callable[[Any], Any]] = {
    "raw": lambda x: x,
    "unit": lambda x: x / 255,
    "signed": lambda x: x / 127.5 - 1,
    "torch": lambda x: (x / 255 - _MEAN) / _SPREAD,
    "caffe": lambda x: x[..., ::-1] - _BLUE_FIRST,
}
"""From 0..255 to what a network takes: the modes of Keras's `preprocess_input`, `raw` and `unit`."""


def choose_scaling(model: keras.Model, sample: np.ndarray) -> str:
    """Returns the name of the scaling that a network was trained with.

    Args:
        model: The network.
        sample: Images from 0 to 255, float32 `(rows, height, width, channels)`.

    Returns:
        `raw` where it scales its inputs itself, else what fits its first batch normalisation; `signed` without one.
    """
    import keras

    layers = getattr(model, "layers", [])
    if any(isinstance(layer, keras.layers.Rescaling | keras.layers.Normalization) for layer in layers[:4]):
        return "raw"
    first = next((layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)), None)
    if first is None:
        return "signed"
    reaching = keras.Model(model.inputs[0], first.input)
    mean, variance = (np.asarray(values) for values in (first.moving_mean, first.moving_variance))
    usable = [name for name in SCALINGS if sample.shape[3] == 3 or name in ("raw", "unit", "signed")]

    def misfit(name: str) -> float:
        found = np.asarray(reaching.predict_on_batch(SCALINGS[name](sample)), np.float64)
        axes = tuple(range(found.ndim - 1))
        ratio = (found.var(axis=axes) + 1e-6) / (variance + 1e-6)
        # Of two Gaussians, in nats a channel.
        return float(np.mean(ratio + np.square(found.mean(axis=axes) - mean) / (variance + 1e-6) - 1 - np.log(ratio)))

    return min(usable, key=misfit)


def check_scaling(name: str) -> str:
    """Returns the name of a scaling, or `auto`, and raises `InputError` if there is none of that name."""
    if name != "auto" and name not in SCALINGS:
        raise InputError("scaling", f"auto or one of {', '.join(SCALINGS)}", name)
    return name
