"""Given labels as a flat JSON list of integers, the form in which DivideMix and its followers exchange noise.

`[6, 9, 4, ...]`: one label a training row. Where all rows of a set have example ids `train_00000`, `train_00001`, ...,
the list is in the order of these numbers, which is the published order of the images; tensorflow-datasets stores them
in another one. Else it is in the order of the training rows.

Example:
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "labels.json"
    >>> write_labels(path, np.array([2, 0, 1]))
    >>> read_labels(path).tolist()
    [2, 0, 1]
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path

import numpy as np

from unlearning.errors import InputError
from unlearning.files import check_file, write_text

_LARGEST_FILE = 64 * 2**20
_LONGEST_LABEL = 10  # digits; longer ones are no classes, and turning them into integers takes quadratic time
_IDENTIFIER = re.compile(r"train_([0-9]{1,18})")


def example_numbers(ids: np.ndarray | None) -> np.ndarray | None:
    """Returns the numbers in example ids of the form `train_<number>`, or None where not all ids have it.

    Args:
        ids: Array `(rows,)` of str, or None.

    Returns:
        int64 array `(rows,)`.
    """
    matches = [] if ids is None else [_IDENTIFIER.fullmatch(str(identifier)) for identifier in ids]
    numbers = [int(match[1]) for match in matches if match]
    return np.array(numbers, dtype=np.int64) if numbers and len(numbers) == len(matches) else None


def in_published_order(labels: np.ndarray, ids: np.ndarray | None) -> np.ndarray:
    """Returns labels of training rows in the order in which a file lists them.

    Args:
        labels: int array `(rows,)`, in the order of the training rows.
        ids: Their example ids, or None.
    """
    numbers = example_numbers(ids)
    return labels[np.argsort(numbers)] if numbers is not None and is_whole(numbers) else labels


def read_labels(path: str | os.PathLike[str] | None) -> np.ndarray:
    """Reads a list of labels.

    Args:
        path: A JSON file with one flat list of integers of at least 0.

    Returns:
        int64 array, as long as the list.

    Raises:
        InputError: If the file is missing, absurdly large, or anything but such a list.
    """
    if path is None:
        raise InputError("Recorded noise needs a file of labels: pass labels_file (--labels-file).")
    path = check_file("labels_file", path, _LARGEST_FILE, ".json file")
    try:
        labels = json.loads(path.read_text(encoding="utf-8"), parse_int=_integer)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid JSON with one list of labels: {error}") from error
    if not isinstance(labels, list) or not labels:
        raise InputError("labels_file", "a JSON list of integers, one a training row", type(labels).__name__)
    for row, label in enumerate(labels):
        if type(label) is not int or label < 0:  # neither True nor 3.0 is a label
            raise InputError("labels_file", "a flat list of integers of at least 0", f"{str(label)[:50]} at {row}")
    return np.array(labels, dtype=np.int64)


def write_labels(path: str | os.PathLike[str], labels: np.ndarray, *, force: bool = False) -> None:
    """Writes a list of labels; the file at `path` is either the old one or the whole new one.

    Args:
        path: The JSON file.
        labels: int array `(rows,)`.
        force: Replace an existing file.

    Raises:
        InputError: If the file exists and is not to be replaced, or the labels are not classes.
    """
    path, labels = Path(path), np.asarray(labels)
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer) or not len(labels) or labels.min() < 0:
        raise InputError(
            "labels", "a one-dimensional array of integers of at least 0", f"{labels.dtype} {labels.shape}"
        )
    if path.exists() and not force:
        raise InputError(f"{path} exists. Pass --force to replace it.")
    write_text(path, json.dumps(labels.tolist()))


def labels_sha256(labels: np.ndarray) -> str:
    """Returns a hash of a list of labels, as hexadecimal text; how the file is formatted does not matter."""
    return hashlib.sha256(np.asarray(labels).astype("<i8").tobytes()).hexdigest()


def is_whole(numbers: np.ndarray) -> bool:
    """Whether these are the numbers 0..rows-1, each once."""
    return np.array_equal(np.sort(numbers), np.arange(len(numbers)))


def _integer(text: str) -> int:
    if len(text) > _LONGEST_LABEL:
        raise ValueError(f"expected labels, received a number of {len(text)} digits")
    return int(text)
