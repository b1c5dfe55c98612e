"""Judging every row by a linear model that never saw it, on what a network sees that was trained on other pictures.

No wrong label has shaped these features, and a picture has: they tell classes apart far better than patches do, in
less time.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, MinLen

from unlearning.detection.base import Evidence
from unlearning.detection.cuts import AnchoredCut
from unlearning.detection.detectors.cross_validation import Unseen
from unlearning.detection.ridge import calibrate, leave_one_out
from unlearning.errors import InputError, one_line
from unlearning.eyes.base import Interpolation
from unlearning.files import describe_file
from unlearning.settings import Positive, PositiveFloat

OWN = "own"
"""The model's own penultimate layer."""


class Pretrained(AnchoredCut):
    """Leave-one-out ridge regression on the features of a pretrained network.

    See `unlearning.eyes`, `unlearning.detection.ridge` and `unlearning.detection.transition`. What the network sees is
    kept on disk, so that the same images are looked at once. `scores` are log-odds against the given label.
    """

    eyes: str = OWN
    """What looks at the images: the path of a .keras or .tflite file, a name of keras.applications such as MobileNetV2
    (Keras downloads its weights), hub: and a preset of keras-hub, or own, the model's penultimate layer. Features that
    have been computed elsewhere are a .npy file with one row a training row."""
    size: Annotated[int, Ge(8)] = 96
    """Height and width in pixels that images are resized to, where the network takes any."""
    interpolation: Interpolation = "bicubic"
    """How they are resized, by Keras's names."""
    scaling: Literal["auto", "raw", "unit", "signed", "torch", "caffe"] = "auto"
    """Pixels that a file's network takes: raw (0 to 255), unit (0 to 1), signed (-1 to 1), or Keras's torch or caffe;
    auto finds out by its first batch normalisation. Names know theirs."""
    judge: Literal["ridge", "neighbours", "logistic"] = "ridge"
    """What judges by the features: the ridge regression, or nearest neighbours or logistic regression in folds."""
    folds: Annotated[int, Ge(2)] = 5
    """Of neighbours and logistic regression."""
    neighbours: Positive = 30
    """How many."""
    penalties: Annotated[tuple[PositiveFloat, ...], MinLen(1)] = (1e-2, 3e-2, 1e-1, 3e-1, 1.0)
    """Of the ridge regression, in units of the number of rows; the leave-one-out error chooses."""
    transition: bool = True
    """Estimate who is mistaken for whom, and let it judge; see `unlearning.detection.transition`."""

    def config(self) -> dict[str, Any]:
        """Returns the settings as JSON-ready values; a file by its name and content, since no record holds a path."""
        return {**super().config(), "eyes": describe_file(self.eyes)}

    def probabilities(self, evidence: Evidence) -> tuple[np.ndarray, dict[str, Any]]:
        """Returns class probabilities `(rows, K)` of every row without itself, and what there is to tell."""
        features = self._features(evidence)
        details: dict[str, Any] = {"out_of_sample": True, "features": features.shape[1], "judge": self.judge}
        labels, targets = evidence.labels, evidence.targets()
        if self.judge == "ridge":
            found = leave_one_out(features, labels, evidence.num_classes, self.penalties, targets)
            details["penalty"], scores = found.penalty, found.predictions
        else:
            judge = Unseen(probe=self.judge, folds=self.folds, neighbours=self.neighbours)
            scores = np.log(np.maximum(judge.judge_unseen(evidence, features), 0.5 / self.neighbours))
        details["leave_one_out_accuracy"] = float(np.mean(scores.argmax(-1) == labels))
        return calibrate(scores, labels), details

    def _features(self, evidence: Evidence) -> np.ndarray:
        """Returns features that the caller may change, float32 `(rows, d)`."""
        if self.eyes == OWN:
            return evidence.features.copy()
        if str(self.eyes).endswith(".npy"):
            return _read_features(self.eyes, len(evidence.labels))
        from unlearning.eyes import open_eyes, see

        if len(evidence.split.images.shape) != 4:
            shape = tuple(evidence.split.images.shape[1:])
            raise InputError("eyes", "own or FEATURES.npy, one row a training row, where rows are no images", shape)
        looking = open_eyes(self.eyes, size=self.size, scaling=self.scaling)
        return see(looking, evidence.split.images, size=self.size, interpolation=self.interpolation)


def _read_features(path: str, rows: int) -> np.ndarray:
    """Returns features that somebody has computed elsewhere, one row a training row."""
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(f"Cannot read {path} as a .npy file: {one_line(error)}") from error
    if found.ndim != 2 or found.dtype.kind not in "fiu" or len(found) != rows or not np.isfinite(found).all():
        raise InputError("eyes", f"finite features of shape ({rows}, numbers)", f"{found.dtype} of shape {found.shape}")
    return found.astype(np.float32)
