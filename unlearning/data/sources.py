"""Image sets from several kinds of source, split once and for all by a seed.

- `digits`: the 1,797 handwritten digits that ship with scikit-learn (8x8 grey images); needs no network.
- a tensorflow-datasets name such as `cifar10`: read where it is prepared, downloaded only where it is not.
- `cifar100-superclasses`: `cifar100` with its 20 superclasses as labels, and its classes as fine labels.
- a `.npz` file: arrays `images` and `labels`, or `train_images`, `train_labels`, `test_images`, `test_labels` (and
  `validation_images`, `validation_labels`); optionally `class_names`, and `fine_labels` of every part (`fine_labels`,
  or `train_fine_labels` and so on).
- a folder with one subfolder of image files a class.
- `clothing1m:PATH`, `webvision:PATH` or `mini-webvision:PATH`: a folder in the official layout of a set with real label
  noise, read image by image; see `unlearning.data.listed`.

Row numbers of the training split never change: they are positions in the source's own order (or, with `train_rows`, in
a seeded subset kept in that order).
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import logging
import os
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from unlearning.archives import check_memory, read_arrays
from unlearning.errors import InputError, invalid
from unlearning.progress import progress_bar
from unlearning.task import Split

logger = logging.getLogger(__name__)

# Everything else Pillow reads is left out: some of its readers start other programs.
IMAGE_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
_IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"}
_TFDS_BATCH = 1000
SUPERCLASSES = {"cifar100-superclasses": ("cifar100", "coarse_label", "label")}
"""Variants of tensorflow-datasets sets: the set, the feature with the labels, and that with the fine labels."""
LISTED = ("clothing1m", "webvision", "mini-webvision")
_HELD_OUT = 0.3  # validation and test together, where a source has only one part


@dataclasses.dataclass(frozen=True, eq=False)
class ImageData:
    """A split image set with the labels found in its source.

    Attributes:
        name: The set's name: `digits`, a tensorflow-datasets name, or the stem of the file or folder.
        train: Training rows.
        validation: Held-out rows for choosing hyperparameters.
        test: Held-out rows for final scores only.
        class_names: Names of the classes, in label order.
        pixel_max: 255, or 1 for float images that never exceed 1.
        train_ids: Example ids of the training rows (str), where the source has them.
        fine_labels: Finer classes behind the labels, by part (`train`, `validation`, `test`): one int64 array `(rows,)`
            each, where the source has them.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    class_names: tuple[str, ...]
    pixel_max: float
    train_ids: np.ndarray | None = None
    fine_labels: Mapping[str, np.ndarray] | None = None

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """`(height, width, channels)` of an image."""
        height, width, channels = self.train.images.shape[1:]
        return height, width, channels

    def fingerprint(self) -> str:
        """Returns a SHA-256 over images and labels of all three splits, as hexadecimal text.

        Images that are read from disk one by one enter with their paths and file sizes only.
        """
        from unlearning.data.listed import ImageFiles

        digest = hashlib.sha256()
        for split in (self.train, self.validation, self.test):
            digest.update(str((split.images.shape, split.images.dtype)).encode())
            if isinstance(split.images, ImageFiles):
                digest.update(split.images.digest())
            else:
                digest.update(np.ascontiguousarray(split.images).data)
            digest.update(split.labels.tobytes())
        for part, fine in sorted((self.fine_labels or {}).items()):
            digest.update(part.encode() + fine.tobytes())
        return digest.hexdigest()


def load_data(
    source: str | os.PathLike[str],
    *,
    data_dir: str | os.PathLike[str] | None = None,
    data_seed: int = 42,
    train_rows: int | None = None,
    image_size: int | None = None,
) -> ImageData:
    """Loads and splits an image set.

    A tensorflow-datasets set keeps its training part whole; its test images are halved at random into test and
    validation (CIFAR-10: 50,000 / 5,000 / 5,000 rows, the halves of the published experiments at seed 42). A source
    with one part is divided 70 / 15 / 15 per cent, stratified by class.

    Args:
        source: See the module's docstring.
        data_dir: Where tensorflow-datasets keeps prepared sets (default: `TFDS_DATA_DIR`, else its own default).
        data_seed: Seed of the splits.
        train_rows: Keep only this many training rows, drawn at random and left in order.
        image_size: Height and width to which image files are resized (default: those of the first one; 224 for the
            sets with real label noise).

    Returns:
        The set.

    Raises:
        InputError: If the source is unknown or its content is not a classified image set.

    Example:
        >>> data = load_data("digits")
        >>> len(data.train), len(data.validation), len(data.test), data.input_shape
        (1257, 270, 270, (8, 8, 1))
    """
    _check_options(data_seed, image_size)
    text = os.fspath(source)
    kind, colon, root = text.partition(":")
    if colon and kind in LISTED:
        from unlearning.data.listed import load_clothing1m, load_webvision

        if kind == "clothing1m":
            return load_clothing1m(root, image_size=image_size, train_rows=train_rows, data_seed=data_seed)
        mini = kind == "mini-webvision"
        return load_webvision(root, mini=mini, image_size=image_size, train_rows=train_rows, data_seed=data_seed)
    if text == "digits":
        digits = load_digits()
        images = np.round(digits.images * (255 / 16)).astype(np.uint8)[..., np.newaxis]
        parts = _divide(images, digits.target, data_seed)
        data = _assemble("digits", parts, [str(k) for k in range(10)])
    elif text.endswith(".npz"):
        data = _load_npz(Path(text), data_seed)
    elif Path(text).is_dir():
        data = _load_folder(Path(text), data_seed, image_size)
    else:
        data = _load_tfds(text, data_dir, data_seed)
    if train_rows is None:
        return data
    rows, fine = _draw_rows(len(data.train), train_rows, data_seed), data.fine_labels
    return dataclasses.replace(
        data,
        train=Split(data.train.images[rows], data.train.labels[rows]),
        train_ids=None if data.train_ids is None else data.train_ids[rows],
        fine_labels=None if fine is None else {**fine, "train": fine["train"][rows]},
    )


def _check_options(data_seed: int, image_size: int | None) -> None:
    if not 0 <= data_seed < 2**32:
        raise invalid("data_seed", "an integer in 0..2**32-1", data_seed)
    if image_size is not None and image_size < 1:
        raise invalid("image_size", "a positive number of pixels", image_size)


def _draw_rows(total: int, train_rows: int, seed: int) -> np.ndarray:
    """Draws the training rows to keep, in order."""
    if not 1 <= train_rows <= total:
        raise invalid("train_rows", f"an integer in 1..{total}", train_rows)
    return np.sort(np.random.default_rng(seed).choice(total, train_rows, replace=False))


Parts = Mapping[str, tuple[np.ndarray, ...]]
"""Images, labels, and fine labels where there are any, by part: `train`, `validation`, `test`."""


def _divide(images: np.ndarray, labels: np.ndarray, seed: int, *fine: np.ndarray) -> Parts:
    """Divides a one-part source 70 / 15 / 15, each part in source order."""
    _check("images", images, labels, *fine)
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


def _warn_of_division(name: str, parts: Parts) -> None:
    rows = {part: len(labels) for part, (_, labels, *_) in parts.items()}
    logger.warning(
        "%s has no test rows: of its %d rows, %d are held out, and row numbers count within the other %d. If the model "
        "was trained on those held out, its scores mislead: give train_images, train_labels, test_images, test_labels.",
        name,
        sum(rows.values()),
        rows["validation"] + rows["test"],
        rows["train"],
    )


def _halve(images: np.ndarray, labels: np.ndarray, seed: int, *fine: np.ndarray) -> Parts:
    """Halves the test images as the published experiments do: the first half is the test split."""
    if len(labels) < 2:
        raise invalid("test labels", "at least two rows, to be halved into test and validation", len(labels))
    halves = train_test_split(images, labels, *fine, test_size=0.5, random_state=seed)
    return {"test": tuple(halves[::2]), "validation": tuple(halves[1::2])}


def _assemble(name: str, parts: Parts, class_names: list[str], train_ids: np.ndarray | None = None) -> ImageData:
    if len(class_names) < 2:
        raise invalid("data", "at least two classes", f"{name} with {len(class_names)}")
    splits: dict[str, Split] = {}
    fine_labels: dict[str, np.ndarray] = {}
    for part in ("train", "validation", "test"):
        images, labels, *fine = parts[part]
        _check(part, images, labels, *fine)
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


def _check(name: str, images: np.ndarray, labels: np.ndarray, *fine: np.ndarray) -> None:
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


def _load_npz(path: Path, seed: int) -> ImageData:
    if not path.is_file():
        raise invalid("data", "an existing .npz file", str(path))
    arrays = read_arrays(path)
    parts: dict[str, tuple[np.ndarray, ...]]
    if {"images", "labels"} <= set(arrays):
        fine = (arrays["fine_labels"],) if "fine_labels" in arrays else ()
        parts = dict(_divide(arrays["images"], arrays["labels"], seed, *fine))
        _warn_of_division(path.name, parts)
    elif {"train_images", "train_labels", "test_images", "test_labels"} <= set(arrays):
        validation = {"validation_images", "validation_labels"} <= set(arrays)
        present = ("train", "test", "validation") if validation else ("train", "test")
        without = [part for part in present if f"{part}_fine_labels" not in arrays]
        if 0 < len(without) < len(present):
            raise invalid("data", "fine labels of every part or of none", f"no {without[0]}_fine_labels")
        kinds = ("images", "labels") if without else ("images", "labels", "fine_labels")
        parts = {part: tuple(arrays[f"{part}_{kind}"] for kind in kinds) for part in present}
        _check("test", *parts["test"])
        if "validation" not in parts:
            images, labels, *more = parts["test"]
            parts |= _halve(images, labels, seed, *more)
    else:
        raise invalid(
            "data",
            "arrays named images and labels, or train_images, train_labels, test_images and test_labels",
            ", ".join(sorted(arrays)) or "an empty file",
        )
    if "class_names" in arrays:
        if arrays["class_names"].ndim != 1:
            raise invalid("class_names", "a one-dimensional array", f"shape {arrays['class_names'].shape}")
        names = [str(name) for name in arrays["class_names"]]
    else:
        for part, content in parts.items():
            _check(part, *content)
        # Without names the labels alone say how many classes there are; a gap is more likely a mistake.
        found = np.unique(np.concatenate([content[1] for content in parts.values()]))
        if not np.array_equal(found, np.arange(len(found))):
            missing = next(k for k in range(len(found)) if k != found[k])
            raise InputError(
                f"The labels in {path.name} are not classes 0..K-1: {found[-1]} occurs, but {missing} does not. "
                "Renumber them, or name all classes in an array class_names."
            )
        names = [str(k) for k in found]
    return _assemble(path.stem, parts, names)


def _load_folder(folder: Path, seed: int, image_size: int | None) -> ImageData:
    from PIL import Image

    classes = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if len(classes) < 2:
        raise invalid("data", "a folder with at least two subfolders, one a class", f"{folder} with {len(classes)}")
    files: list[tuple[Path, int]] = []
    for label, subfolder in enumerate(classes):
        found = sorted(p for p in subfolder.rglob("*") if p.suffix.lower() in _IMAGE_SUFFIXES and p.is_file())
        if not found:
            raise invalid("data", "image files in every class folder", f"none in {subfolder}")
        files += [(path, label) for path in found]
    root = folder.resolve()
    size = None if image_size is None else (image_size, image_size)
    images = []
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        for path, _ in progress_bar(files, description="reading images", unit="image"):
            if not path.resolve().is_relative_to(root):
                raise InputError(f"The image {path} is a link that leaves the folder {folder}.")
            try:
                with Image.open(path, formats=IMAGE_FORMATS) as image:
                    if size is None:
                        size = image.size
                        check_memory(2 * 3 * len(files) * size[0] * size[1])  # the list, and the array stacked of it
                    images.append(np.asarray(image.convert("RGB").resize(size)))
            except Exception as error:  # Pillow's readers fail in many ways on damaged files
                raise InputError(f"Cannot read the image {path}: {error}") from error
    labels = np.array([label for _, label in files])
    parts = _divide(np.stack(images), labels, seed)
    _warn_of_division(folder.name, parts)
    return _assemble(folder.name, parts, [path.name for path in classes])


def _load_tfds(name: str, data_dir: str | os.PathLike[str] | None, seed: int) -> ImageData:
    if "/" in name and Path(name).suffix:
        raise invalid("data", "an existing file or folder", name)
    import tensorflow_datasets as tfds

    wanted = name
    name, label, *fine = SUPERCLASSES.get(name, (name, "label"))
    try:
        builder = tfds.builder(name, data_dir=None if data_dir is None else os.fspath(data_dir))
    except Exception as error:  # unknown names, versions and unreadable folders raise different types
        close = difflib.get_close_matches(name, [*tfds.list_builders(), "digits", *SUPERCLASSES], n=3)
        hint = f" Did you mean {' or '.join(close)}?" if close else ""
        raise InputError(
            f"Unknown data set {name!r}. Expected 'digits', a .npz file, an image folder, "
            f"a tensorflow-datasets name, or {', '.join(f'{kind}:PATH' for kind in LISTED)}.{hint}"
        ) from error
    features = builder.info.features
    if not {"image", label, *fine} <= set(getattr(features, "keys", set)()):
        raise invalid("data", "a tensorflow-datasets set with 'image' and 'label'", name)
    if not builder.info.splits:  # splits are known only of prepared sets
        try:
            builder.download_and_prepare()
        except Exception as error:
            raise InputError(
                f"The data set {name!r} is not prepared in {builder.data_dir} and could not be downloaded "
                f"({type(error).__name__}). Prepare it on a machine with network access and pass its folder as "
                "--data-dir, or set TFDS_DATA_DIR."
            ) from error
    class_names = list(features[label].names)
    read = {
        part: _read_tfds(builder, part, (label, *fine))
        for part in builder.info.splits
        if part in ("train", "test", "validation")
    }
    if "train" not in read:
        raise invalid("data", "a set with a 'train' split", f"{name} with {', '.join(builder.info.splits)}")
    set_name = wanted if fine else builder.name
    (images, labels, *more), ids = read["train"]
    if "test" not in read and "validation" not in read:
        return _assemble(set_name, _divide(images, labels, seed, *more), class_names)
    parts: dict[str, tuple[np.ndarray, ...]] = {"train": read["train"][0]}
    if "test" in read and "validation" in read:
        parts |= {part: read[part][0] for part in ("test", "validation")}
    else:
        images, labels, *more = read["test" if "test" in read else "validation"][0]
        parts |= _halve(images, labels, seed, *more)
    return _assemble(set_name, parts, class_names, ids)


def _read_tfds(  # type: ignore[no-untyped-def]
    builder, part: str, keys: tuple[str, ...]
) -> tuple[tuple[np.ndarray, ...], np.ndarray | None]:
    """Reads one part in its stored order, in batches (images of one set must share one shape).

    Returns:
        Images and the classes under `keys`, and the example ids where there are any.
    """
    import tensorflow_datasets as tfds

    try:
        batches = list(tfds.as_numpy(builder.as_dataset(split=part, shuffle_files=False, batch_size=_TFDS_BATCH)))
    except Exception as error:
        raise InputError(
            f"Cannot read the {part} part of {builder.name!r} from {builder.data_dir}: {type(error).__name__}. "
            "Its images must have one shape, and its files must be complete."
        ) from error
    images, *classes = (np.concatenate([batch[key] for batch in batches]) for key in ("image", *keys))
    ids = np.concatenate([batch["id"] for batch in batches]).astype(str) if "id" in batches[0] else None
    return (images, *(values.astype(np.int64) for values in classes)), ids
