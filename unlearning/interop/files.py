"""Models as files: loaded in safe mode, saved whole or not at all."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from unlearning.archives import check_members
from unlearning.errors import InputError
from unlearning.files import writing

if TYPE_CHECKING:
    import keras


def check_model_path(path: str | os.PathLike[str]) -> Path:
    """Returns the path of a model, and raises `InputError` unless it ends in `.keras` and is a file."""
    path = Path(path)
    if path.suffix != ".keras":
        raise InputError("model", "a path ending in .keras", str(path))
    if not path.is_file():
        raise InputError("model", "an existing file", str(path))
    return path


def load_model(path: str | os.PathLike[str]) -> keras.Model:
    """Loads a `.keras` file in safe mode (no code from the file is run).

    Args:
        path: The file.

    Returns:
        The model, uncompiled.

    Raises:
        InputError: If the file is missing, damaged, or needs code that safe mode refuses.
    """
    path = check_model_path(path)
    import keras

    try:
        with zipfile.ZipFile(path) as archive:
            check_members(archive, path)
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever zipfile, json and h5py raise on a damaged archive
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        reason = reason if len(reason) <= 300 else f"{reason[:297]}..."  # some messages quote the whole configuration
        raise InputError(f"Cannot load the model {path}: {reason}") from error


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
