"""From the arrays of three parts to an `ImageData`."""

from __future__ import annotations

import numpy as np

from unlearning.data.checks import check_arrays
from unlearning.data.division import Parts
from unlearning.data.image_data import ImageData
from unlearning.data.streamed import chunks
from unlearning.errors import InputError
from unlearning.task import Split


def assemble(
    name: str,
    parts: Parts,
    class_names: list[str],
    train_ids: np.ndarray | None = None,
    *,
    ids_are_paths: bool = False,
    of_any_kind: bool = False,
) -> ImageData:
    """Checks the parts of a set and puts them together.

    Args:
        name: The set's name.
        parts: Its parts.
        class_names: Names of the classes, in label order.
        train_ids: Example ids of the training rows, where there are any.
        ids_are_paths: Whether these are paths of image files.
        of_any_kind: Whether rows may be vectors, sequences, or of any other shape, which is left as it is.

    Returns:
        The set.

    Raises:
        InputError: If a part is no classified image set, or the parts do not fit together.
    """
    if len(class_names) < 2:
        raise InputError("data", "at least two classes", f"{name} with {len(class_names)}")
    splits: dict[str, Split] = {}
    fine_labels: dict[str, np.ndarray] = {}
    for part in ("train", "validation", "test"):
        images, labels, *fine = parts[part]
        check_arrays(part, images, labels, *fine, of_any_kind=of_any_kind)
        if fine:
            fine_labels[part] = fine[0].astype(np.int64)
        if images.ndim == 3 and not of_any_kind and isinstance(images, np.ndarray):
            images = images[..., np.newaxis]
        if labels.max() >= len(class_names):
            raise InputError(f"{part} labels", f"classes 0..{len(class_names) - 1}", int(labels.max()))
        if images.shape[1:] != splits.get("train", Split(images, labels)).images.shape[1:]:
            raise InputError(f"{part} images", "images of the training images' shape", images.shape[1:])
        splits[part] = Split(images, labels)
    floating = np.issubdtype(splits["train"].images.dtype, np.floating)
    unit = floating and all(part.max() <= 1 for split in splits.values() for part in chunks(split.images))
    return ImageData(
        name,
        **splits,
        class_names=tuple(class_names),
        pixel_max=1.0 if unit else 255.0,
        train_ids=train_ids,
        ids_are_paths=ids_are_paths,
        fine_labels=fine_labels or None,
    )
