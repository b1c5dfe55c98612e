"""Features on disk, named by what they were made of; the oldest go where they take too much room.

A file is an array as NumPy writes it, never a pickle, and its name ends in a checksum of its bytes: what was cut off,
changed, or is something else is looked at anew. `UNLEARNING_CACHE` says where the folder is.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import os
import zlib
from pathlib import Path

import numpy as np

from unlearning.data.image_files import ImageFiles
from unlearning.files import is_plain, writing

logger = logging.getLogger(__name__)

LARGEST = 2 * 2**30
"""Bytes that the folder may hold."""

_FORMAT = "features 1"  # to be raised where the same name would mean other numbers
_BLOCK = 4096


def folder() -> Path:
    """Returns where features are kept: `$UNLEARNING_CACHE`, or a folder of the user's cache."""
    chosen = os.environ.get("UNLEARNING_CACHE")
    if chosen:
        return Path(chosen).expanduser() / "features"
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "keras-unlearning" / "features"


def key(images: np.ndarray, *made_of: object) -> str:
    """Returns the name of features, 64 hexadecimal digits.

    Args:
        images: What was looked at. Arrays enter with their content, image files with path, size and time of change.
        made_of: What looked at them, and how.
    """
    digest = hashlib.sha256(repr((_FORMAT, images.shape, str(images.dtype), made_of)).encode())
    if isinstance(images, ImageFiles):
        digest.update(images.digest())
        for path in images.paths:
            digest.update((images.root / path).stat().st_mtime_ns.to_bytes(8, "little", signed=True))
    else:
        for start in range(0, len(images), _BLOCK):
            digest.update(np.ascontiguousarray(images[start : start + _BLOCK]).data)
    return digest.hexdigest()


def read(name: str, rows: int) -> np.ndarray | None:
    """Returns features of so many rows, float32 `(rows, d)`, or None where there are none that can be trusted."""
    for path in sorted(folder().glob(f"{name}-*.npy")):
        with contextlib.suppress(OSError, ValueError, EOFError):
            if not is_plain(path) or path.stat().st_size > LARGEST:
                continue
            content = path.read_bytes()
            if path.stem != f"{name}-{zlib.crc32(content):08x}":
                continue
            found = np.load(io.BytesIO(content), allow_pickle=False)
            if found.ndim == 2 and found.dtype == np.float32 and len(found) == rows and np.isfinite(found).all():
                os.utime(path)  # the last to go
                return found
    return None


def write(name: str, features: np.ndarray) -> np.ndarray:
    """Keeps features, and returns them. A cache that cannot be written is a warning."""
    buffer = io.BytesIO()
    np.save(buffer, features, allow_pickle=False)
    content = buffer.getbuffer()
    if len(content) > LARGEST:
        return features
    try:
        _make_room(len(content))
        with writing(folder() / f"{name}-{zlib.crc32(content):08x}.npy") as aside:
            aside.write_bytes(content)
    except OSError as error:
        logger.warning("What was seen in the images is not kept in %s: %s", folder(), error)
    return features


def _make_room(size: int) -> None:
    """Removes what was used longest ago until so many bytes have room."""
    found = [path for path in folder().glob("*.npy") if is_plain(path)]
    found.sort(key=lambda path: path.stat().st_mtime)
    total = sum(path.stat().st_size for path in found)
    for path in found:
        if total + size <= LARGEST:
            return
        total -= path.stat().st_size
        path.unlink(missing_ok=True)
