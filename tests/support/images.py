"""Small image sets on disk: arrays, folders, and sets read from disk in their official layouts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from unlearning.data import ImageData, load_data

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (40, 5, 4, 3)).astype(np.uint8)
LABELS = np.arange(40) % 4


def write_npz(path: Path, **arrays) -> str:
    np.savez(path, **arrays)
    return str(path)


def write_folder(folder: Path, classes: int = 3, images: int = 6, size: tuple[int, int] = (5, 7)) -> Path:
    for k in range(classes):
        (folder / f"class_{k}").mkdir(parents=True)
        for i in range(images):
            pixels = np.full((size[1], size[0], 3), 10 * k + i, np.uint8)
            Image.fromarray(pixels).save(folder / f"class_{k}" / f"{i}.png")
    return folder


TRAIN = [f"images/0/{i:02}.jpg" for i in range(12)]
VALIDATION = [f"images/1/{i:02}.jpg" for i in range(4)]
TEST = [f"images/2/{i:02}.jpg" for i in range(5)]


def write_image(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(value).integers(0, 256, (9 + value % 3, 11, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path)


def write_lines(path: Path, lines) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


def edit(path: Path, line: int, text: str) -> None:
    lines = path.read_text().splitlines()
    lines[line - 1] = text
    write_lines(path, lines)


def load_clothing1m(root: Path, **options) -> ImageData:
    return load_data(f"clothing1m:{root}", **options)


def load_webvision(root: Path, mini: bool, **options) -> ImageData:
    return load_data(f"{'mini-' if mini else ''}webvision:{root}", **options)
