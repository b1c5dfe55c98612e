"""Reading archives of arrays that nobody vouches for: no pickles, no bombs, no sizes that are only claimed."""

from __future__ import annotations

import math
import os
import zipfile
from pathlib import Path

import numpy as np

from unlearning.errors import InputError, one_line
from unlearning.memory import total_memory

_FREE_BYTES = 64 * 2**20
_LARGEST_EXPANSION = 200  # photographs and labels compress up to some ten times, deflate up to 1,032 times


def read_arrays(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Reads all arrays of a `.npz` file.

    Sizes are checked before anything is allocated: the shape in every header against the bytes that are there, and the
    sum against the file's size and the machine's memory.

    Args:
        path: The file; it must exist.

    Returns:
        The arrays by name.

    Raises:
        InputError: If the file is damaged, holds pickles, or would unpack to far more than it is worth.
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            check_members(archive, path)
            for info in archive.infolist():
                _check_header(archive, info)
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except Exception as error:  # a damaged or pickled archive fails in many ways
        reason = one_line(error)
        raise InputError(f"Cannot read {path} as arrays without pickles: {reason}") from error


def check_members(archive: zipfile.ZipFile, path: Path) -> None:
    """Raises `ValueError` if an archive's members have unsafe names or may unpack to absurd sizes.

    Args:
        archive: The open archive.
        path: Its path, for its size on disk.

    Raises:
        ValueError: If two members have one name, a name is unsafe, a member is encrypted, or neither stored nor
            deflated, or the archive unpacks to far more than it holds.
    """
    names = [info.filename for info in archive.infolist()]
    if len(set(names)) < len(names):
        raise ValueError("two members have one name")
    for name in names:
        slashed = name.replace("\\", "/")
        if slashed.startswith("/") or slashed[1:2] == ":" or ".." in slashed.split("/") or not name.isprintable():
            raise ValueError(f"the member {name[:80]!r} has an unsafe name")
    for info in archive.infolist():
        # bzip2 and lzma unpack a whole block, of any size, before anybody can stop them at the size that is claimed.
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            how = f"compressed by method {info.compress_type}, not stored or deflated"
            raise ValueError(f"the member {info.filename[:80]!r} is {how}")
        if info.flag_bits & 0x1:
            raise ValueError(f"the member {info.filename[:80]!r} is encrypted")
    unpacked, stored = sum(info.file_size for info in archive.infolist()), path.stat().st_size
    if unpacked > _FREE_BYTES and unpacked > _LARGEST_EXPANSION * stored:
        raise ValueError(f"{stored} bytes that claim to unpack to {unpacked}; store such data uncompressed")
    check_memory(unpacked)


def check_memory(size: int) -> None:
    """Raises `ValueError` if a number of bytes exceeds the memory of this machine or container."""
    available = total_memory()
    if size > available:
        raise ValueError(f"it needs {size} bytes of memory, and there are {available}")


def _check_header(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
    if not info.filename.endswith(".npy"):
        raise ValueError(f"the member {info.filename[:80]!r} is no array")
    with archive.open(info) as member:
        version = np.lib.format.read_magic(member)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"the array {info.filename[:80]!r} has a format of version {version}")
        old = version == (1, 0)
        shape, _, dtype = (
            np.lib.format.read_array_header_1_0(member) if old else np.lib.format.read_array_header_2_0(member)
        )
        if dtype.hasobject:
            raise ValueError(f"the array {info.filename[:80]!r} holds Python objects")
        claimed, there = math.prod(shape) * dtype.itemsize, info.file_size - member.tell()
    if min(shape, default=0) < 0 or claimed != there:
        raise ValueError(f"the array {info.filename[:80]!r} claims the shape {shape}, but holds {there} bytes")
