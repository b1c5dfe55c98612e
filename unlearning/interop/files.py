"""Models as files: loaded in safe mode, saved whole or not at all."""

from __future__ import annotations

import json
import logging
import os
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from unlearning.archives import check_members
from unlearning.errors import InputError, printable
from unlearning.files import writing
from unlearning.interop.claims import check_claims, read_config

if TYPE_CHECKING:
    import keras

_LONGEST_METADATA = 2**16
_CONVERT = "unlearning convert {} NEW.keras"

logger = logging.getLogger(__name__)


def check_model_path(path: str | os.PathLike[str]) -> Path:
    """Returns the path of a model.

    Raises:
        InputError: Unless it ends in `.keras` and is a file; of older formats it says how to convert them.
    """
    path = Path(path)
    if path.suffix in (".h5", ".hdf5") or (path / "saved_model.pb").is_file():
        raise InputError(f"{path} is in an older format: make a .keras file of it with `{_CONVERT.format(path)}`.")
    if path.suffix != ".keras":
        raise InputError("model", "a path ending in .keras, as model.save('name.keras') writes it", str(path))
    if not path.is_file():
        raise InputError("model", "an existing file", str(path))
    return path


def load_model(path: str | os.PathLike[str], *, compiled: bool = False) -> keras.Model:
    """Loads a `.keras` file in safe mode (no code from the file is run).

    Args:
        path: The file.
        compiled: Compile it as the file says, with a fresh optimizer, where Keras knows all that is named there.

    Returns:
        The model, uncompiled unless asked for.

    Raises:
        InputError: If the file is missing, damaged, claims more memory than its weights have, or needs code that safe
            mode refuses.
    """
    path = check_model_path(path)
    import keras

    try:
        with zipfile.ZipFile(path) as archive:
            check_members(archive, path)
            check_claims(archive)
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever zipfile, json and h5py raise on a damaged archive
        reason = _reason(error)
        raise InputError(f"Cannot load the model {path}: {reason}{_remedy(path, reason)}") from error
    if compiled:
        _compile(model, path)
    return model


def _compile(model: keras.Model, path: Path) -> None:
    """Compiles a model as its file says, if that can be done."""
    try:
        with zipfile.ZipFile(path) as archive:
            config = read_config(archive).get("compile_config")
        if config:
            model.compile_from_config(config)
    except Exception as error:  # a loss of the user's own, for one; nothing here needs it
        logger.info("%s is not compiled as it was: %s", path, printable(str(error)[:200]))


def _reason(error: Exception) -> str:
    """Returns why Keras cannot load a model: it quotes the whole configuration first, and says so at the end."""
    text = str(error).rpartition("Exception encountered:")[2]
    for quoted in ("Full object config", "Make sure custom classes", "Target variable:", "If you trust the source"):
        text = text.partition(quoted)[0]
    text = " ".join(text.split()).rstrip(". ") or type(error).__name__
    return f"{text if len(text) <= 300 else f'{text[:297]}...'}."


def _remedy(path: Path, reason: str) -> str:
    """Returns what to do, as a sentence, where that is known."""
    with path.open("rb") as file:
        if file.read(8) == b"\x89HDF\r\n\x1a\n":
            return f" It is an HDF5 file: give it its old ending, .h5, and call `{_CONVERT.format('OLD.h5')}`."
    version = _version(path)
    if version is not None and version.startswith("2."):
        return f" It was saved by Keras {version}: make a new one of it with `{_CONVERT.format(path)}`."
    if any(word in reason for word in ("Could not locate", "Could not interpret", "Lambda", "lambda")):
        return (
            " A model with code of its own needs the module that registers its classes and functions: --import MODULE, "
            "which runs that module. In Python, import it, and call unlearning.repair(model, data)."
        )
    import keras

    if version is not None and version != keras.__version__:
        return f" It was saved by Keras {version}, and this is {keras.__version__}."
    return ""


def _version(path: Path) -> str | None:
    """Returns the version of Keras that a file says it is of."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open("metadata.json") as file:
            version = json.loads(file.read(_LONGEST_METADATA))["keras_version"]
    except Exception:  # what says nothing of it helps nobody
        return None
    return printable(version[:20]) if isinstance(version, str) else None


def save_model(model: keras.Model, path: str | os.PathLike[str]) -> None:
    """Saves a model so that `path` holds either the whole new file or what it held before.

    Args:
        model: The model.
        path: Target, ending in `.keras`; the folder is created.

    Raises:
        InputError: If the path does not end in `.keras`.
    """
    path = Path(path)
    if path.suffix != ".keras":
        raise InputError("path", "a path ending in .keras", str(path))
    with writing(path) as aside:
        model.save(aside)
