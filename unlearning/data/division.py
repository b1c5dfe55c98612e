"""From images and labels to a split set: division, halving, and what is no classified image set."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping

import numpy as np
from sklearn.model_selection import train_test_split

from unlearning.data.base import ImageData
from unlearning.data.settings import DataSettings
from unlearning.errors import InputError, invalid
from unlearning.task import Split

logger = logging.getLogger(__name__)

_HELD_OUT = 0.3  # validation and test together, where a source has only one part


Parts = Mapping[str, tuple[np.ndarray, ...]]
"""Images, labels, and fine labels where there are any, by part: `train`, `validation`, `test`."""


def divide(images: np.ndarray, labels: np.ndarray, seed: int, *fine: np.ndarray) -> Parts:
    """Divides a one-part source 70 / 15 / 15, each part in source order."""
    check("images", images, labels, *fine)
    counts = np.unique(labels, return_counts=True)[1]
    if counts.min() < 4:
        raise InputError(f"A class has only {counts.min()} rows; at least 4 are needed to split it three ways.")
    rows = np.arange(len(labels))
    train, rest = train_test_split(rows, test_size=_HELD_OUT, random_state=seed, stratify=labels)
    try:
        test, validation = train_test_split(rest, test_size=0.5, random_state=seed, stratify=labels[rest])
    except ValueError:  # a class with a single held-out row cannot be stratified further
        test, validation = train_test_split(rest, test_size=0.5, random_state=seed)
    named = {"train": train, "validation": validation, "test": test}
    return {name: tuple(a[np.sort(part)] for a in (images, labels, *fine)) for name, part in named.items()}


def warn_of_division(name: str, parts: Parts) -> None:
    """Says that row numbers count within the part that is not held out."""
    rows = {part: len(labels) for part, (_, labels, *_) in parts.items()}
    logger.warning(
        "%s has no test rows: of its %d rows, %d are held out, and row numbers count within the other %d. If the model "
        "was trained on those held out, its scores mislead: give train_images, train_labels, test_images, test_labels.",
        name,
        sum(rows.values()),
        rows["validation"] + rows["test"],
        rows["train"],
    )


def halve(images: np.ndarray, labels: np.ndarray, seed: int, *fine: np.ndarray) -> Parts:
    """Halves the test images as the published experiments do: the first half is the test split."""
    if len(labels) < 2:
        raise invalid("test labels", "at least two rows, to be halved into test and validation", len(labels))
    halves = train_test_split(images, labels, *fine, test_size=0.5, random_state=seed)
    return {"test": tuple(halves[::2]), "validation": tuple(halves[1::2])}


def assemble(name: str, parts: Parts, class_names: list[str], train_ids: np.ndarray | None = None) -> ImageData:
    """Makes an image set of its parts, and refuses parts that do not fit each other."""
    if len(class_names) < 2:
        raise invalid("data", "at least two classes", f"{name} with {len(class_names)}")
    splits: dict[str, Split] = {}
    fine_labels: dict[str, np.ndarray] = {}
    for part in ("train", "validation", "test"):
        images, labels, *fine = parts[part]
        check(part, images, labels, *fine)
        if fine:
            fine_labels[part] = fine[0].astype(np.int64)
        if images.ndim == 3:
            images = images[..., np.newaxis]
        if labels.max() >= len(class_names):
            raise invalid(f"{part} labels", f"classes 0..{len(class_names) - 1}", int(labels.max()))
        if images.shape[1:] != splits.get("train", Split(images, labels)).images.shape[1:]:
            raise invalid(f"{part} images", "images of the training images' shape", images.shape[1:])
        splits[part] = Split(images, labels)
    floating = np.issubdtype(splits["train"].images.dtype, np.floating)
    unit = floating and all(split.images.max() <= 1 for split in splits.values())
    return ImageData(
        name,
        **splits,
        class_names=tuple(class_names),
        pixel_max=1.0 if unit else 255.0,
        train_ids=train_ids,
        fine_labels=fine_labels or None,
    )


def check(name: str, images: np.ndarray, labels: np.ndarray, *fine: np.ndarray) -> None:
    """Refuses what is not a classified image set."""
    for extra in fine:
        if extra.shape != labels.shape or not np.issubdtype(extra.dtype, np.integer) or (extra < 0).any():
            found = f"{extra.dtype} of shape {extra.shape}"
            raise invalid(f"{name} fine labels", "one integer of at least 0 for every label", found)
    if images.dtype == object or not (
        np.issubdtype(images.dtype, np.floating) or np.issubdtype(images.dtype, np.integer)
    ):
        raise invalid(f"{name} images", "numbers", f"dtype {images.dtype}")
    if images.ndim not in (3, 4):
        raise invalid(f"{name} images", "shape (rows, height, width) or (rows, height, width, channels)", images.shape)
    if 0 in images.shape[1:]:
        raise invalid(f"{name} images", "images of at least one pixel", images.shape)
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise invalid(
            f"{name} labels", "a one-dimensional array of integers", f"{labels.dtype} of shape {labels.shape}"
        )
    if len(images) != len(labels) or not len(labels):
        raise invalid(f"{name} labels", f"one label per image ({len(images)} images, at least one)", len(labels))
    if labels.min() < 0:
        raise invalid(f"{name} labels", "classes 0..K-1", int(labels.min()))
    if np.issubdtype(images.dtype, np.floating) and not np.isfinite(images).all():
        row = int(np.flatnonzero(~np.isfinite(images).reshape(len(images), -1).all(axis=1))[0])
        raise invalid(f"{name} images", "finite pixels", f"NaN or infinity in row {row}")


def draw_rows(total: int, train_rows: int, seed: int) -> np.ndarray:
    """Draws the training rows to keep, in order."""
    if not 1 <= train_rows <= total:
        raise invalid("train_rows", f"an integer in 1..{total}", train_rows)
    return np.sort(np.random.default_rng(seed).choice(total, train_rows, replace=False))


def keep_rows(data: ImageData, settings: DataSettings) -> ImageData:
    """Returns a set with only the training rows that settings ask for, drawn at random and left in order."""
    if settings.train_rows is None:
        return data
    rows, fine = draw_rows(len(data.train), settings.train_rows, settings.data_seed), data.fine_labels
    return dataclasses.replace(
        data,
        train=Split(data.train.images[rows], data.train.labels[rows]),
        train_ids=None if data.train_ids is None else data.train_ids[rows],
        fine_labels=None if fine is None else {**fine, "train": fine["train"][rows]},
    )
