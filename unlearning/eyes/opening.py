"""From a name or a path to eyes."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from unlearning.data.sources.reachable import any_reachable
from unlearning.errors import InputError, one_line
from unlearning.eyes.base import Eyes
from unlearning.files import file_sha256

logger = logging.getLogger(__name__)

_WEIGHTS = "https://storage.googleapis.com/tensorflow/keras-applications"
_HUB = "hub:"
_FORMS = f"own, a .keras or .tflite file, a name of keras.applications, or {_HUB} and a preset of keras-hub"


def open_eyes(name: str | os.PathLike[str], *, size: int = 96, scaling: str = "auto") -> Eyes:
    """Opens a network by name or file. Nothing is run that a file brings with it.

    Args:
        name: The path of a `.keras` or LiteRT (`.tflite`) file; a name of `keras.applications`, such as `MobileNetV2`,
            whose weights Keras downloads where it has not yet; or `hub:` and a preset of keras-hub.
        size: Height and width that images will have, for networks that are built for one.
        scaling: See `unlearning.eyes.scaling`; for files only.

    Returns:
        The eyes.

    Raises:
        InputError: If there are none of this name, or a package or the network connection is missing that they need.
    """
    text = os.fspath(name)
    suffix = Path(text).suffix
    if suffix in (".keras", ".tflite"):
        path = Path(text)
        if not path.is_file():
            raise InputError("eyes", "an existing file", text)
        if suffix == ".tflite":
            from unlearning.eyes.litert import LiteEyes

            return LiteEyes(path, size, scaling)
        from unlearning.eyes.network import NetworkEyes
        from unlearning.interop import load_model

        return NetworkEyes(path.name, file_sha256(path), load_model(path), scaling)
    if text.startswith(_HUB):
        return _of_hub(text)
    if not text.isidentifier():
        raise InputError("eyes", _FORMS, text)
    return _of_applications(text, size)


def _of_applications(name: str, size: int) -> Eyes:
    import keras

    from unlearning.eyes.network import NetworkEyes

    applications = keras.applications
    build = getattr(applications, name, None)
    if not callable(build):
        raise InputError("eyes", _FORMS, name)
    home = next(part for part in vars(applications).values() if getattr(part, name, None) is build)
    if not _is_kept(name):
        if not any_reachable([_WEIGHTS]):
            raise InputError(
                f"Keras has not downloaded the weights of {name} yet, and its server cannot be reached. Give a .keras "
                "file with --eyes, or download them where there is a network: they go to ~/.keras/models."
            )
        logger.warning("Keras downloads the weights of %s (trained on ImageNet) from %s.", name, _WEIGHTS)
    try:
        model = build(include_top=False, weights="imagenet", input_shape=(size, size, 3))
    except Exception as error:  # a size that it does not take, or whatever a download meets
        raise InputError(f"Cannot build {name} for images of {size} pixels: {one_line(error)}") from error
    return NetworkEyes(name, f"keras.applications {keras.__version__} {name}", model, home.preprocess_input)


def _is_kept(name: str) -> bool:
    """Whether Keras has a file of weights that may be this network's; names of files spell names of networks freely."""
    base = Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser() / "models"
    wanted = name.lower()
    return any(wanted in "".join(c for c in path.name.lower() if c.isalnum()) for path in base.glob("*.h5"))


def _of_hub(text: str) -> Eyes:
    try:
        import keras_hub
    except ImportError as error:
        raise InputError(f"--eyes {text} needs keras-hub. Install it with: pip install keras-hub") from error

    from unlearning.eyes.network import NetworkEyes

    preset = text.removeprefix(_HUB)
    logger.warning("keras-hub downloads %s where it has not yet.", preset)
    try:
        model = keras_hub.models.Backbone.from_preset(preset)
        converter = keras_hub.layers.ImageConverter.from_preset(preset, image_size=None)
    except Exception as error:  # unknown names and broken downloads raise different types
        raise InputError(f"Cannot open {text}: {one_line(error)}") from error
    return NetworkEyes(text, f"keras-hub {keras_hub.__version__} {preset}", model, converter)
