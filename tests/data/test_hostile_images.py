"""Damaged and malicious images: one clear line, bounded memory."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import pytest

from support.hostile import bounded, refused
from unlearning.data import load_data


def png(width: int, height: int, data: bytes = b"") -> bytes:
    """A PNG whose header claims a size."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


class TestImages:
    def folder(self, tmp_path: Path, content: bytes, *, name: str = "1.png", copies: int = 1) -> Path:
        for kind in ("a", "b"):
            (tmp_path / "images" / kind).mkdir(parents=True)
            for copy in range(copies):
                (tmp_path / "images" / kind / f"{copy}{name}").write_bytes(content)
        return tmp_path / "images"

    @pytest.mark.parametrize("side", [10_000, 60_000, 2**31 - 1])
    def test_claimed_sizes(self, tmp_path: Path, side: int) -> None:
        with bounded(50):
            refused(lambda: load_data(self.folder(tmp_path, png(side, side))), "Cannot read the image")

    def test_more_images_than_memory(self, tmp_path: Path) -> None:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        copies = min(memory // (2 * 6 * 9000**2) + 1, 20_000)
        with bounded(50):
            refused(lambda: load_data(self.folder(tmp_path, png(9000, 9000), copies=copies)), "memory")

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"\x89PNG\r\n\x1a\n",
            png(5, 5),
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n(touch x) system\n",
            b"<svg xmlns='http://www.w3.org/2000/svg'/>",
            b"GIF89a" + b"\xff" * 50,
        ],
    )
    def test_what_is_no_image(self, tmp_path: Path, content: bytes) -> None:
        refused(lambda: load_data(self.folder(tmp_path, content)), "Cannot read the image")
