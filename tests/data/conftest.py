"""Folders in the official layouts, and what is read of them."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from support.images import TEST, TRAIN, VALIDATION, write_image, write_lines
from unlearning.data import ImageFiles


@pytest.fixture
def clothing(tmp_path: Path) -> Path:
    root = tmp_path / "clothing"
    for value, path in enumerate(TRAIN + VALIDATION + TEST):
        write_image(root / path, value)
    write_lines(root / "noisy_train_key_list.txt", TRAIN)
    write_lines(root / "clean_train_key_list.txt", TRAIN[:2])
    write_lines(root / "clean_val_key_list.txt", VALIDATION)
    write_lines(root / "clean_test_key_list.txt", TEST)
    # The two tables disagree everywhere, and are in another order than the lists.
    write_lines(root / "noisy_label_kv.txt", [f"{p} {i}" for i, p in reversed(list(enumerate(TRAIN)))])
    clean = TRAIN[:2] + VALIDATION + TEST
    write_lines(root / "clean_label_kv.txt", [f"{p} {13 - i}" for i, p in enumerate(clean)])
    return root


@pytest.fixture
def webvision(tmp_path: Path) -> Path:
    root = tmp_path / "webvision"
    google = [(f"google/q{i:04}/{i}.jpg", label) for i, label in enumerate([0, 49, 50, 3, 51, 0, 7, 1])]
    flickr = [(f"flickr/q{i:04}/{i}.jpg", label) for i, label in enumerate([2, 51, 0])]
    held_out = [(f"val{i:06}.jpg", label) for i, label in enumerate([0, 50, 1, 49, 2, 51, 3, 4, 5])]
    for value, (path, _) in enumerate(google + flickr):
        write_image(root / path, value)
    for value, (path, _) in enumerate(held_out, start=100):
        write_image(root / "val_images_256" / path, value)
    for name, rows in (
        ("train_filelist_google", google),
        ("train_filelist_flickr", flickr),
        ("val_filelist", held_out),
    ):
        write_lines(root / "info" / f"{name}.txt", [f"{path} {label}" for path, label in rows])
    names = ["tench, Tinca tinca", "great white shark, white shark", "crane", "crane, lifting gear"]
    names += [f"thing {i}, other name" for i in range(4, 52)]
    write_lines(root / "info" / "synsets.txt", [f"n{i:08} {name}" for i, name in enumerate(names)])
    return root


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the images opened so far."""
    names: list[str] = []
    lock, original = threading.Lock(), Image.open

    def counting(path, *args, **options):
        with lock:
            names.append(Path(path).name)
        return original(path, *args, **options)

    monkeypatch.setattr(Image, "open", counting)
    return names


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of images decoded by every access so far."""
    counts: list[int] = []
    original = ImageFiles.__getitem__

    def counting(self, index):
        images = original(self, index)
        counts.append(images.size // int(np.prod(self.shape[1:])))
        return images

    monkeypatch.setattr(ImageFiles, "__getitem__", counting)
    return counts
