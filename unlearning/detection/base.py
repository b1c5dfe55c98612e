"""What every detector is: frozen settings with one verb, and what it returns.

A detector sees the trained model and the given labels, never the true ones. Nothing here imports Keras.
"""

from __future__ import annotations

import abc
import dataclasses
import enum
import functools
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from unlearning.errors import InputError
from unlearning.progress import pulse
from unlearning.settings import Settings
from unlearning.task import REMOVED, Corrections, Split, check_rows

if TYPE_CHECKING:
    import keras

logger = logging.getLogger(__name__)


class DetectionStatus(enum.StrEnum):
    """Whether the suspects deserve trust, and why not."""

    OK = "ok"
    COLLAPSED_MIXTURE = "collapsed_mixture"
    NOTHING_SUSPECT = "nothing_suspect"
    LOPSIDED = "lopsided"
    CONSTANT_SCORES = "constant_scores"


_ADVICE = {
    DetectionStatus.COLLAPSED_MIXTURE: "the scores do not fall into two groups; no row is called suspect. "
    "Try loss-ranking with a share of your own, or cross-validation",
    DetectionStatus.NOTHING_SUSPECT: "no row lies above the threshold",
    DetectionStatus.LOPSIDED: "the share of suspects is implausible; look at them before you repair anything",
    DetectionStatus.CONSTANT_SCORES: "all rows have the same score; no row is called suspect",
}


@dataclasses.dataclass(frozen=True, eq=False)
class Detection:
    """What a detector returns.

    Attributes:
        scores: float64 `(rows,)`, finite; higher is more suspicious. The unit is the detector's.
        suspects: Sorted int64 row numbers.
        suggested_labels: int64 `(rows,)`: the most likely label of every row, by whatever the detector judges with.
        threshold: The score above which (for a fixed number of suspects: from which) rows are suspect, or None where
            no single number decides.
        status: Whether the suspects deserve trust. Anything but `ok` has been logged as a warning.
        details: What else the detector found, as JSON-ready values.
        probabilities: float64 `(rows, K)`: how probable each class is to be the true one, by what the detector judges
            with; None where it has no probabilities that the rows' own labels have not shaped.
    """

    scores: np.ndarray
    suspects: np.ndarray
    suggested_labels: np.ndarray
    threshold: float | None
    status: DetectionStatus
    details: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    probabilities: np.ndarray | None = None

    def suspected(self) -> Corrections:
        """Returns the suspects with their suggested labels, and how probable each label is."""
        rows = self.suspects
        probable = None if self.probabilities is None else self.probabilities[rows]
        return Corrections(rows, self.suggested_labels[rows], probabilities=probable)

    def __post_init__(self) -> None:
        scores = np.asarray(self.scores, dtype=np.float64)
        suspects = np.asarray(self.suspects, dtype=np.int64)
        labels = np.asarray(self.suggested_labels, dtype=np.int64)
        if scores.ndim != 1 or not np.isfinite(scores).all():
            raise InputError("scores", "one finite score a row", f"{scores.dtype} of shape {scores.shape}")
        if labels.shape != scores.shape:
            raise InputError("suggested_labels", f"one label a row ({len(scores)})", labels.shape)
        ascending = bool((np.diff(suspects) > 0).all())
        if not ascending or (len(suspects) and not 0 <= suspects[0] <= suspects[-1] < len(scores)):
            raise InputError("suspects", f"ascending row numbers in 0..{len(scores) - 1}", suspects)
        for name, value in (("scores", scores), ("suspects", suspects), ("suggested_labels", labels)):
            object.__setattr__(self, name, value)


@dataclasses.dataclass(frozen=True, eq=False)
class Evidence:
    """A model and its training rows, with what detectors compute from them; each is computed once.

    Attributes:
        model: The trained classifier; it is not changed.
        split: The training rows with their given labels.
        num_classes: Number of classes `K`.
        seed: Seed of every random choice.
        known: Rows that somebody has looked at, and the labels that should stand there: another than the given one,
            `REMOVED` where that is wrong and nobody knows the right one, or the given one where it is right.
    """

    model: keras.Model
    split: Split
    num_classes: int
    seed: int
    known: Corrections | None = None

    @property
    def labels(self) -> np.ndarray:
        """The given labels, int64 `(rows,)`."""
        return self.split.labels

    @functools.cached_property
    def possible(self) -> np.ndarray | None:
        """Which classes may be the true one, boolean `(rows, K)`; None where nothing is known."""
        if self.known is None or not len(self.known):
            return None
        possible = np.ones((len(self.labels), self.num_classes), dtype=bool)
        rows, told = self.known.rows, self.known.labels
        gone = told == REMOVED
        possible[rows[~gone]] = False
        possible[rows[~gone], told[~gone]] = True
        possible[rows[gone], self.labels[rows[gone]]] = False
        return possible

    def targets(self) -> np.ndarray:
        """Returns what is to be learned of the rows, float64 `(rows, K)`: given labels, or what is known instead."""
        targets = np.eye(self.num_classes)[self.labels]
        if self.known is not None and self.possible is not None:
            rows = self.known.rows
            targets[rows] = self.possible[rows] / self.possible[rows].sum(axis=1, keepdims=True)
        return targets

    @functools.cached_property
    def probabilities(self) -> np.ndarray:
        """The model's probabilities, float64 `(rows, K)`."""
        from unlearning.evaluation import predict_probabilities

        found = predict_probabilities(self.model, self.split.images)
        if not np.isfinite(found).all():
            raise InputError("model", "finite outputs on every row", "NaN or infinity")
        return found

    @functools.cached_property
    def features(self) -> np.ndarray:
        """The penultimate features, float32 `(rows, features)`."""
        from unlearning.detection.features import penultimate_features

        features = penultimate_features(self.model, self.split.images)
        if not np.isfinite(features).all():
            raise InputError("model", "finite features on every row", "NaN or infinity")
        return features


class Detector(Settings, abc.ABC):
    """A detector of wrong labels; the fields are its options."""

    def detect(
        self, model: keras.Model, split: Split, num_classes: int, seed: int = 0, known: Corrections | None = None
    ) -> Detection:
        """Ranks the rows of a training split by how suspicious their given labels are.

        Args:
            model: The trained classifier, with logit or probability outputs; it is not changed.
            split: The rows as the model was trained on them. Images read from disk are streamed.
            num_classes: Number of classes; labels are `0..num_classes-1`.
            seed: Seed of every random choice.
            known: What is known of some rows; see `Evidence`. They are no suspects, and teach those detectors that can
                learn of them.

        Returns:
            The detection; a status other than `ok` is logged as a warning.

        Raises:
            InputError: If model, rows and options do not fit each other.
        """
        from unlearning.interop import check_classifier, need_tensorflow, two_classes

        need_tensorflow("A detection")
        if len(split) < 2:
            raise InputError("split", "at least two rows", len(split))
        if split.labels.min() < 0 or split.labels.max() >= num_classes:
            received = f"{split.labels.min()}..{split.labels.max()}"
            raise InputError("split.labels", f"classes 0..{num_classes - 1}", received)
        model = two_classes(model, split.images)
        check_classifier(model, split.images, num_classes)
        if known is not None and len(known):
            check_rows("known.rows", known.rows, len(split))
            if known.labels.min() < REMOVED or known.labels.max() >= num_classes:
                received = f"{known.labels.min()}..{known.labels.max()}"
                raise InputError("known.labels", f"classes 0..{num_classes - 1}, or -1 (removed)", received)
        pulse()
        detection = self.examine(Evidence(model, split, num_classes, seed, known))
        if known is not None:
            detection = dataclasses.replace(detection, suspects=np.setdiff1d(detection.suspects, known.rows))
        if detection.status is not DetectionStatus.OK:
            logger.warning("%s (%s): %s.", type(self).__name__, detection.status, _ADVICE[detection.status])
        return detection

    @abc.abstractmethod
    def examine(self, evidence: Evidence) -> Detection:
        """Does the work of `detect` on evidence that several detectors may share.

        Args:
            evidence: Model, rows, and what is computed from them when first asked for.

        Returns:
            The detection.
        """
