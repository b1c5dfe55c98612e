"""Damaged and malicious archives of arrays: one clear line, nothing executed, bounded memory."""

from __future__ import annotations

import os
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.hostile import FUZZ, MEGABYTE, bounded, refused, zipped
from unlearning.archives import read_arrays
from unlearning.data import load_data
from unlearning.errors import InputError
from unlearning.experiments.results.whole import diagnose_archive
from unlearning.interop import load_model
from unlearning.noise import Corruption


def npy(shape: tuple, dtype: str = "<f8", data: bytes = b"", *, header: str | None = None) -> bytes:
    """The bytes of an `.npy` file whose header may claim anything."""
    text = header or str({"descr": dtype, "fortran_order": False, "shape": shape})
    text = text.ljust(118 - 1) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + data


class TestArrays:
    def test_pickles_are_not_loaded(self, tmp_path: Path) -> None:
        marker = tmp_path / "executed"

        class Payload:
            def __reduce__(self) -> tuple:
                return (os.system, (f"touch {marker}",))

        objects = np.array([Payload()], dtype=object)
        np.savez(tmp_path / "d.npz", images=objects, labels=np.zeros(1, int))
        refused(lambda: load_data(tmp_path / "d.npz"), "without pickles")
        np.savez(tmp_path / "c.npz", given_labels=objects, true_labels=objects)
        refused(lambda: Corruption.load(tmp_path / "c.npz"), "without pickles")
        import pickle

        (tmp_path / "p.npz").write_bytes(pickle.dumps(Payload()))
        refused(lambda: load_data(tmp_path / "p.npz"), "without pickles")
        assert not marker.exists()

    @pytest.mark.parametrize(
        "member",
        [
            npy((10**6, 32, 32, 3)),
            npy((2**62, 2**62)),
            npy((-1, 5)),
            npy((10,), data=b"\0" * 40),
            npy((10,), data=b"\0" * 160),
            npy((), header="{'descr': '<f8', 'fortran_order': False, 'shape': __import__('os').getcwd()}"),
            npy((), header="(" * 100),
            npy((), header="{}"),
            b"",
            b"\x93NUMPY\x09\x00\x00\x00",
            b"not an array",
        ],
    )
    def test_headers_that_lie(self, tmp_path: Path, member: bytes) -> None:
        path = zipped(tmp_path / "d.npz", {"images.npy": member, "labels.npy": npy((1,), "<i8", b"\0" * 8)})
        with bounded(20):
            refused(lambda: load_data(path), "Cannot read")

    def test_bombs(self, tmp_path: Path) -> None:
        size = 100 * MEGABYTE
        path = zipped(tmp_path / "d.npz", {"images.npy": npy((size,), "|u1", b"\0" * size)})
        assert path.stat().st_size < MEGABYTE
        with bounded(20):
            refused(lambda: load_data(path), "unpack")

    def test_more_than_the_memory(self, tmp_path: Path) -> None:
        """The directory claims what no machine has; the claim is believed only as a reason to stop."""
        path = zipped(tmp_path / "d.npz", {"images.npy": npy((10,), data=b"\0" * 80)}, zipfile.ZIP_STORED)
        content = bytearray(path.read_bytes())
        directory = content.rindex(b"PK\x01\x02")
        content[directory + 24 : directory + 28] = struct.pack("<I", 2**32 - 2)
        path.write_bytes(content)
        with bounded(20):
            refused(lambda: load_data(path), "unpack")

    def test_names(self, tmp_path: Path) -> None:
        good = npy((1,), "<i8", b"\0" * 8)
        for name in ("../images.npy", "/images.npy", "images.txt"):
            path = zipped(tmp_path / "d.npz", {name: good})
            refused(lambda path=path: read_arrays(path), "name|no array")

    def test_ordinary_archives_are_read(self, tmp_path: Path) -> None:
        arrays = {
            "a": np.arange(6.0).reshape(2, 3),
            "b": np.array("text"),
            "c": np.zeros((0, 3)),
            "d": np.asfortranarray(np.eye(3)),
        }
        for save in (np.savez, np.savez_compressed):
            save(tmp_path / "d.npz", **arrays)
            read = read_arrays(tmp_path / "d.npz")
            assert set(read) == set(arrays) and all(np.array_equal(read[k], arrays[k]) for k in arrays)

    @FUZZ
    @given(changes=st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 255)), min_size=1, max_size=4))
    def test_flipped_bits_give_the_same_arrays_or_an_error(self, tmp_path: Path, changes: list) -> None:
        path = tmp_path / "d.npz"
        np.savez_compressed(path, a=np.arange(50), b=np.eye(4))
        content = bytearray(path.read_bytes())
        for position, bits in changes:
            content[position % len(content)] ^= bits
        path.write_bytes(content)
        try:
            read = read_arrays(path)
        except InputError:
            return
        assert all(isinstance(array, np.ndarray) for array in read.values())


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_only_members_whose_size_can_be_held_to(tmp_path: Path, compression: int) -> None:
    """A few kilobytes of bzip2 unpack to gigabytes whatever size they claim."""
    good = npy((10**6,), "|u1", bytes(10**6))
    path = zipped(tmp_path / "d.npz", {"images.npy": good}, compression)
    with bounded(1):
        refused(lambda: read_arrays(path), "compressed by")
    keras_file = zipped(tmp_path / "m.keras", {"config.json": b"{}", "metadata.json": b"{}"}, compression)
    assert "compressed by" in diagnose_archive(keras_file)
    refused(lambda: load_model(keras_file), "compressed by")


@pytest.mark.parametrize("method", [9, 12, 93, 99, 65535])
def test_unknown_methods_and_encryption(tmp_path: Path, method: int) -> None:
    path = zipped(tmp_path / "d.npz", {"a.npy": npy((1,), "<i8", bytes(8))}, zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    directory = content.rindex(b"PK\x01\x02")
    struct.pack_into("<H", content, directory + 10, method)
    path.write_bytes(content)
    refused(lambda: read_arrays(path), "compressed by")
    struct.pack_into("<H", content, directory + 10, 0)
    content[directory + 8] |= 1
    path.write_bytes(content)
    refused(lambda: read_arrays(path), "encrypted")
