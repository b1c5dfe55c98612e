"""The record of what went wrong with a split: one type for every kind of noise, stored without pickles."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping

import numpy as np

from unlearning.archives import read_arrays
from unlearning.errors import InputError
from unlearning.files import check_file, writing
from unlearning.strict_json import parse_json
from unlearning.task import REMOVED, Corrections, Split

_LARGEST_FILE = 4 * 2**30


@dataclasses.dataclass(frozen=True)
class Patch:
    """A square in the lower right corner of an image.

    Attributes:
        size: Side in pixels.
        value: Pixel value in every channel.
        target: The label that patched images get.
    """

    size: int
    value: float
    target: int

    def apply(self, images: np.ndarray) -> np.ndarray:
        """Returns patched copies of images of shape `(rows, height, width, channels)`."""
        patched = images.copy()
        patched[:, -self.size :, -self.size :, :] = self.value
        return patched


@dataclasses.dataclass(frozen=True, eq=False)
class Corruption:
    """Given labels against true labels, and which images were patched.

    Attributes:
        kind: Name of the noise.
        seed: Its seed.
        given_labels: int64 array `(rows,)`: what the model is trained on.
        true_labels: int64 array `(rows,)`.
        patched_rows: int64 array of rows whose image was changed; empty for label noise.
        patch: How it was changed, or None.
        drawn: Number of rows that the noise drew, where drawn rows may keep their label; None where all are bad.
    """

    kind: str
    seed: int
    given_labels: np.ndarray
    true_labels: np.ndarray
    patched_rows: np.ndarray = dataclasses.field(default_factory=lambda: np.empty(0, dtype=np.int64))
    patch: Patch | None = None
    drawn: int | None = None

    def __post_init__(self) -> None:
        for name in ("given_labels", "true_labels", "patched_rows"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.int64))
        if self.given_labels.shape != self.true_labels.shape or self.given_labels.ndim != 1:
            raise InputError("given_labels", f"shape {self.true_labels.shape}", self.given_labels.shape)
        if len(self.patched_rows) and self.patch is None:
            raise InputError("patch", "a patch, as there are patched rows", None)

    @property
    def rows(self) -> np.ndarray:
        """The bad rows, ascending: those whose label differs or whose image was patched."""
        return np.union1d(np.flatnonzero(self.given_labels != self.true_labels), self.patched_rows)

    @property
    def budget(self) -> int:
        """Number of bad rows."""
        return len(self.rows)

    @property
    def rate(self) -> float:
        """Share of bad rows."""
        return self.budget / len(self.true_labels)

    def sha256(self) -> str:
        """Returns a hash of the content, as hexadecimal text."""
        digest = hashlib.sha256(self._header().encode())
        for array in (self.given_labels, self.true_labels, self.patched_rows):
            digest.update(array.astype("<i8").tobytes())
        return digest.hexdigest()

    def apply(self, split: Split) -> Split:
        """Returns a split as the model is trained on it: given labels, patched images.

        Args:
            split: The rows with their true labels.

        Raises:
            InputError: If these are not the rows that were corrupted, or images to patch are not in memory.
        """
        if not np.array_equal(split.labels, self.true_labels):
            raise InputError(
                f"The corruption ({len(self.true_labels)} rows) belongs to other data than these {len(split)} rows: "
                "the true labels differ."
            )
        images = split.images
        if self.patch is not None:
            require_in_memory(split, "A backdoor changes pixels")
            images = np.array(images)
            images[self.patched_rows] = self.patch.apply(images[self.patched_rows])
        return Split(images, self.given_labels)

    def corrections(self, split: Split, remove: bool = False) -> Corrections:
        """Returns what a user who knows the bad rows would supply.

        Args:
            split: The rows before corruption.
            remove: Take the rows out instead of correcting them.

        Returns:
            Corrections with true labels (or removal), and the original images where images were patched.
        """
        rows = self.rows
        labels = np.full(len(rows), REMOVED) if remove else self.true_labels[rows]
        patched = self.patch is not None and not remove
        return Corrections(rows, labels, np.asarray(split.images[rows]) if patched else None)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the record as `.npz`; the file at `path` is either the old one or the whole new one."""
        with writing(path) as aside, aside.open("wb") as file:
            np.savez_compressed(
                file,
                given_labels=self.given_labels,
                true_labels=self.true_labels,
                patched_rows=self.patched_rows,
                header=np.array(self._header()),
                sha256=np.array(self.sha256()),
            )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Corruption:
        """Reads a record.

        Args:
            path: A file written by `save`.

        Returns:
            The record.

        Raises:
            InputError: If the file is missing, damaged, pickled, or its content does not match its hash.
        """
        path = check_file("corruption", path, _LARGEST_FILE, ".npz file")
        try:
            arrays = read_arrays(path)
            header: Mapping = parse_json(str(arrays["header"]))
            patch = None if header["patch"] is None else Patch(**header["patch"])
            record = cls(
                header["kind"],
                header["seed"],
                arrays["given_labels"],
                arrays["true_labels"],
                arrays["patched_rows"],
                patch,
                header.get("drawn"),
            )
            stored = str(arrays["sha256"])
        except Exception as error:  # zipfile, json and NumPy fail in many ways on a damaged file
            raise InputError(f"Cannot read the corruption {path}: {error}") from error
        if record.sha256() != stored:
            raise InputError(f"The corruption {path} is damaged: its content does not match its SHA-256.")
        return record

    def _header(self) -> str:
        patch = None if self.patch is None else dataclasses.asdict(self.patch)
        header = {"kind": self.kind, "seed": self.seed, "patch": patch}
        if self.drawn is not None:  # left out where there is none, so that records from before keep their hashes
            header["drawn"] = self.drawn
        return json.dumps(header, sort_keys=True)


def require_in_memory(split: Split, reason: str) -> None:
    """Refuses images that are read from disk one by one.

    Args:
        split: The rows to corrupt.
        reason: Beginning of the message: what the noise does with images.

    Raises:
        InputError: If the images are not a NumPy array.
    """
    if not isinstance(split.images, np.ndarray):
        raise InputError(
            f"{reason} and needs the images in memory, but these are read from disk one by one. Use noise that changes "
            "labels alone (such as 'symmetric' or 'pair'), or read rows that fit into memory: "
            "Split(np.asarray(split.images), split.labels)."
        )
