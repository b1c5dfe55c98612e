"""A model in an older format as a `.keras` file, and the proof that it predicts the same."""

from __future__ import annotations

import dataclasses
import os
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearning.errors import InputError, one_line, printable
from unlearning.files import writing
from unlearning.interop.claims import WEIGHTS, check_making
from unlearning.interop.files import load_model
from unlearning.interop.legacy.building import Built
from unlearning.interop.legacy.reading import Read, Weights, read_archive, read_hdf5, read_saved_model
from unlearning.interop.legacy.vetting import check_config
from unlearning.interop.proof import prove

if TYPE_CHECKING:
    import keras

FORMATS = (".h5", ".hdf5", ".keras")
"""Endings of files that are read; a SavedModel is a folder."""


@dataclasses.dataclass(frozen=True)
class Converted:
    """What was converted.

    Attributes:
        model: The model, read again from the new file.
        form: What the old file is, such as `HDF5 file of Keras 2.15.0`.
        renamed: Layers that have another name, since Keras 3 knows none with a slash.
    """

    model: keras.Model
    form: str
    renamed: int


def convert_model(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> Converted:
    """Writes a model in an older format as a `.keras` file.

    The configuration is read first, and refused if it asks for code or for classes that nobody registered. Then the
    model is made, gets its weights, is saved, read again, and asked about a few rows: both answer the same, or nothing
    is left.

    Args:
        source: An HDF5 file (`.h5`, `.hdf5`), the folder of a SavedModel of Keras 2, or a `.keras` file.
        target: Where the new file goes; it ends in `.keras`.

    Returns:
        What came of it.

    Raises:
        InputError: If the model cannot be converted; the message says what stands in the way.
    """
    source, target = Path(source), Path(target)
    if target.suffix != ".keras":
        raise InputError("target", "a path ending in .keras", str(target))
    form, read = _read(source)
    renamed = 0
    if read is None:
        model = load_model(source)
    elif read.version.startswith("3"):
        model = _load_as_keras(source, read)
    else:
        built = _build(read)
        _give(built, read.weights) if read.weights else _load_members(built.model, source)
        model, renamed = built.model, sum(old != layer.name for old, layer in _leaves(built))
    try:
        with writing(target) as aside:
            model.save(aside)
            again = load_model(aside)
            prove(model, again)
    except InputError as error:
        raise InputError(
            f"{source} was not converted, since its copy is not the same: {one_line(error, 400)}"
        ) from error
    return Converted(again, form, renamed)


def _read(source: Path) -> tuple[str, Read | None]:
    """Returns what a file is, and what it holds; None of one that Keras 3 wrote in its own format."""
    read: Read | None
    if source.is_dir():
        kind, read = "SavedModel", read_saved_model(source, check_config)
    elif source.suffix == ".keras":
        kind, read = ".keras file", read_archive(source, check_config)
    elif source.suffix in FORMATS:
        kind, read = "HDF5 file", read_hdf5(source, check_config)
    else:
        raise InputError("model", "a file ending in .h5, .hdf5 or .keras, or the folder of a SavedModel", str(source))
    return (f"{kind} of Keras {printable(read.version[:20])}" if read and read.version else kind), read


def _build(read: Read) -> Built:
    """Builds the model, once it is known what it would take."""
    made: list[Any] = []
    try:
        check_making(lambda: Built(read.config).model, read.held)
        made.append(Built(read.config))
    except InputError:
        raise
    except Exception as error:  # a configuration that is none may raise anything
        raise InputError(f"Its configuration makes no model: {one_line(error)}") from error
    return made[0]


def _load_as_keras(source: Path, read: Read) -> keras.Model:
    """Loads an HDF5 file that Keras 3 wrote, as Keras does."""
    import keras

    try:
        check_making(lambda: keras.saving.load_model(source, compile=False, safe_mode=True), read.held)
        return keras.saving.load_model(source, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever h5py and a layer raise
        raise InputError(f"Cannot load the model {source}: {one_line(error, 300)}") from error


def _load_members(model: keras.Model, source: Path) -> None:
    """Gives a model the weights in a `.keras` file of Keras 2, which lie there as Keras 3 has them."""
    with tempfile.TemporaryDirectory(prefix="weights-") as folder:
        try:
            with zipfile.ZipFile(source) as archive:
                model.load_weights(archive.extract(WEIGHTS, folder))
        except Exception as error:  # Keras raises whatever h5py and a layer raise
            raise InputError(f"The weights in {source} do not fit its layers: {one_line(error, 300)}") from error


def _leaves(built: Built, prefix: str = "") -> list[tuple[str, Any]]:
    """The layers of a model by old names, those of models within it too."""
    found: list[tuple[str, Any]] = []
    for name, layer in built.layers.items():
        found += _leaves(layer) if isinstance(layer, Built) else [(name, layer)]
    return found


def _give(built: Built, weights: Weights) -> None:
    """Gives layers their weights.

    Raises:
        InputError: If these do not fit them.
    """
    for name, layer in built.layers.items():
        inner = {key.partition("/")[2]: found for key, found in weights.items() if key.startswith(f"{name}/")}
        if isinstance(layer, Built) and inner and name not in weights:
            _give(layer, inner)
            continue
        own = layer.model if isinstance(layer, Built) else layer
        wanted, found = own.trainable_weights + own.non_trainable_weights, weights.get(name, [])
        told = [(_kind(variable.name), tuple(variable.shape)) for variable in wanted]
        there = [(_kind(key), array.shape) for key, array in found]
        if told != there:
            raise InputError(f"The weights of layer {name!r} do not fit it: it takes {told}, and the file has {there}.")
        for variable, (_, array) in zip(wanted, found, strict=True):
            variable.assign(array)
        for one in own._flatten_layers():
            if hasattr(one, "finalize_state"):
                one.finalize_state()


def _kind(name: str) -> str:
    """What a weight is, by the end of its name: `kernel` of `dense/kernel:0`."""
    kind = name.rpartition("/")[2].partition(":")[0]
    return "kernel" if kind == "depthwise_kernel" else kind  # of a depthwise convolution it was renamed
