"""What passes between the rooms of the library: the task, the outcome, the solve report and the work count.

A `Method` takes a trained model and an `UnlearningTask` and returns an `UnlearningOutcome`. Nothing here computes;
nothing here imports TensorFlow.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np

from unlearning.acceptance import Acceptance, choosing_rows
from unlearning.errors import InputError
from unlearning.interop import Moved
from unlearning.loss import PLAIN, OriginalLoss

logger = logging.getLogger(__name__)

Measure = Literal["accuracy", "likelihood"]
"""What is chosen and judged by: the share of rows that are right, or how probable their labels are."""
REMOVED = -1
"""The corrected label that stands for "take this row out of the training set"."""


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """Images and integer labels of one part of a data set.

    Attributes:
        images: Array of shape `(rows, height, width, channels)`; any array with NumPy indexing (a memory map, too).
        labels: int64 array of shape `(rows,)`.
    """

    images: np.ndarray
    labels: np.ndarray

    def __post_init__(self) -> None:
        labels = np.asarray(self.labels)
        if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
            raise InputError("labels", "a one-dimensional array of integers", f"{labels.dtype} of shape {labels.shape}")
        if len(self.images) != len(labels):
            raise InputError("labels", f"one label per image ({len(self.images)} images)", f"{len(labels)} labels")
        object.__setattr__(self, "labels", labels.astype(np.int64, copy=False))

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, rows: np.ndarray) -> Split:
        """Returns the rows with the given numbers (or under a mask); images that are read from disk stay there."""
        images: Any = self.images
        return Split(images.subset(rows) if hasattr(images, "subset") else images[rows], self.labels[rows])


@dataclasses.dataclass(frozen=True, eq=False)
class Corrections:
    """The flagged rows and what should have stood there.

    Attributes:
        rows: int64 array `(flagged,)` of distinct row numbers into the training split.
        labels: int64 array `(flagged,)` of corrected labels; `REMOVED` (-1) takes the row out.
        images: Corrected images, shape `(flagged, height, width, channels)`, or None where the images stay.
        probabilities: float array `(flagged, K)`: how probable each label is, where the right one is not known for
            sure; None where it is. Methods that take no probabilities go by `labels`.
    """

    rows: np.ndarray
    labels: np.ndarray
    images: np.ndarray | None = None
    probabilities: np.ndarray | None = None

    def __post_init__(self) -> None:
        for name in ("rows", "labels"):
            value = np.asarray(getattr(self, name))
            if value.ndim != 1 or (len(value) and not np.issubdtype(value.dtype, np.integer)):
                raise InputError(name, "a one-dimensional array of integers", f"{value.dtype} of shape {value.shape}")
            object.__setattr__(self, name, value.astype(np.int64))
        if len(self.rows) != len(self.labels):
            raise InputError("labels", f"one corrected label per flagged row ({len(self.rows)})", len(self.labels))
        if len(np.unique(self.rows)) != len(self.rows):
            raise InputError("rows", "distinct row numbers", "repeated rows")
        if self.images is not None and len(self.images) != len(self.rows):
            raise InputError("images", f"one corrected image per flagged row ({len(self.rows)})", len(self.images))
        if self.probabilities is not None:
            object.__setattr__(self, "probabilities", _check_probabilities(self.probabilities, len(self.rows)))

    def __len__(self) -> int:
        return len(self.rows)

    def subset(self, chosen: np.ndarray) -> Corrections:
        """Returns the flagged rows at some positions, or under a mask."""
        return Corrections(
            self.rows[chosen],
            self.labels[chosen],
            None if self.images is None else self.images[chosen],
            None if self.probabilities is None else self.probabilities[chosen],
        )

    @classmethod
    def none(cls) -> Corrections:
        """Returns corrections that flag no row."""
        return cls(np.empty(0, np.int64), np.empty(0, np.int64))


@dataclasses.dataclass(frozen=True, eq=False)
class UnlearningTask:
    """Everything a method may look at. True labels are not among it, except where the user supplies corrections.

    Attributes:
        train: The training rows exactly as the model was trained on them (given labels, patched images).
        corrections: The flagged rows; empty for methods that need none. Rows that are set right to what they were given
            ask for no change: they are taken out here, for all methods alike, with a warning that counts them.
        validation: Held-out rows with the labels the user has. Methods see `choosing`, one half of them; the other one,
            `deciding`, is kept for the verdict (see `unlearning.acceptance`).
        num_classes: Number of classes `K`; labels are `0..K-1`.
        trusted_rows: Rows of `train` known to be right, or None.
        seed: Seed of every random choice a method makes.
        suspects: Rows that a detector suspects, with suggested labels; None where nothing has been detected.
        known: Where a detector flags, the rows that were known before, right ones (with their given label) included.
        is_stage: Whether this is a part of a larger repair. The rows that choose then say whether what came out is
            taken, and the larger repair is judged as a whole.
        loss: What the model was trained to minimise.
        measure: By what a method is judged on validation; influence updates and fine-tuning choose by it, too.
    """

    train: Split
    corrections: Corrections
    validation: Split
    num_classes: int
    trusted_rows: np.ndarray | None = None
    seed: int = 0
    suspects: Corrections | None = None
    known: Corrections | None = None
    is_stage: bool = False
    loss: OriginalLoss = PLAIN
    measure: Measure = "accuracy"

    def __post_init__(self) -> None:
        rows, classes = len(self.train), self.num_classes
        if not rows:
            raise InputError("train", "at least one row", "an empty split")
        if not len(self.validation):
            raise InputError("validation", "at least one row", "an empty split")
        for name, labels in (("train", self.train.labels), ("validation", self.validation.labels)):
            if labels.min() < 0 or labels.max() >= classes:
                raise InputError(f"{name}.labels", f"classes 0..{classes - 1}", f"{labels.min()}..{labels.max()}")
        if self.measure not in get_args(Measure):
            raise InputError("measure", f"one of {', '.join(get_args(Measure))}", self.measure)
        self.loss.check(classes)
        self._check_flagged("corrections", self.corrections)
        self._drop_unchanged()
        if np.count_nonzero(self.corrections.labels == REMOVED) == rows:
            raise InputError(
                "Invalid value for argument `corrections`. Expected at least one row to stay. All are removed."
            )
        if self.suspects is not None:
            self._check_flagged("suspects", self.suspects)
        if self.known is not None:
            self._check_flagged("known", self.known)

    @functools.cached_property
    def choosing(self) -> Split:
        """The half of the validation rows on which a method chooses whatever it has to choose."""
        return self.validation.subset(choosing_rows(self.validation.labels, self.seed))

    @functools.cached_property
    def deciding_rows(self) -> np.ndarray:
        """The numbers of the validation rows that say whether a repair is taken, int64, ascending."""
        chosen = choosing_rows(self.validation.labels, self.seed)
        return np.setdiff1d(np.arange(len(self.validation)), chosen)

    def _drop_unchanged(self) -> None:
        """Takes out flagged rows whose corrected label, and image, is the given one.

        Their gradient difference is zero but for rounding, which a step would scale up; and to methods that forget what
        is flagged they would be rows to forget.

        Raises:
            InputError: If none is left.
        """
        flagged, train = self.corrections, self.train
        same = flagged.labels == train.labels[flagged.rows]
        if flagged.images is not None:
            for number in np.flatnonzero(same):
                same[number] = np.array_equal(flagged.images[number], train.images[flagged.rows[number]])
        if not same.any():
            return
        if same.all():
            raise InputError(
                f"Every corrected label is the given one ({len(same)} rows), so that nothing would be corrected. Give "
                f"the labels that should have stood there, or {REMOVED} (in a CSV file an empty label) to take a row "
                "out."
            )
        logger.warning(
            "%d of %d flagged rows have their given label as corrected label: nothing is wrong with them, and they are "
            "not counted as flagged.",
            np.count_nonzero(same),
            len(same),
        )
        object.__setattr__(self, "corrections", flagged.subset(~same))

    def _check_flagged(self, name: str, flagged: Corrections) -> None:
        rows, classes, shape = len(self.train), self.num_classes, self.train.images.shape[1:]
        if not len(flagged):
            return
        if flagged.rows.min() < 0 or flagged.rows.max() >= rows:
            raise InputError(f"{name}.rows", f"row numbers 0..{rows - 1}", _outside(flagged.rows, 0, rows))
        if flagged.labels.min() < REMOVED or flagged.labels.max() >= classes:
            expected = f"classes 0..{classes - 1}, or {REMOVED} for removal"
            raise InputError(f"{name}.labels", expected, _outside(flagged.labels, REMOVED, classes))
        if flagged.images is not None and flagged.images.shape[1:] != shape:
            raise InputError(f"{name}.images", f"images of shape {shape}", flagged.images.shape[1:])
        if flagged.probabilities is not None and flagged.probabilities.shape[1] != classes:
            raise InputError(f"{name}.probabilities", f"{classes} classes", flagged.probabilities.shape[1])


def _check_probabilities(found: Any, rows: int) -> np.ndarray:
    """Returns probabilities as float64 `(rows, K)`, and raises `InputError` unless each row's sum to one."""
    values = np.asarray(found, dtype=np.float64)
    if values.ndim != 2 or len(values) != rows:
        raise InputError("probabilities", f"one probability a class for each of {rows} flagged rows", values.shape)
    if not np.isfinite(values).all() or values.min(initial=0) < 0:
        raise InputError("probabilities", "finite numbers of at least 0", values.min(initial=0))
    sums = values.sum(axis=1, keepdims=True)
    if rows and np.abs(sums - 1).max() > 0.01:
        raise InputError("probabilities", "rows that sum to one", float(sums[np.abs(sums - 1).argmax()][0]))
    return values / np.where(sums > 0, sums, 1.0)


def check_split(name: str, part: Split | tuple[np.ndarray, np.ndarray]) -> Split:
    """Returns images and labels as a `Split`, and raises `InputError` if there are none."""
    split = part if isinstance(part, Split) else Split(*part)
    if not len(split):
        raise InputError(name, "at least one row", "none")
    return split


def check_rows(name: str, rows: np.ndarray, count: int) -> np.ndarray:
    """Returns row numbers as an int64 array, and raises `InputError` unless they lie in `0..count-1`."""
    rows = np.asarray(rows)
    usable = rows.ndim == 1 and len(rows) and np.issubdtype(rows.dtype, np.integer)
    if not usable or rows.min() < 0 or rows.max() >= count:
        raise InputError(name, f"an array of row numbers 0..{count - 1}, at least one", rows)
    return rows.astype(np.int64)


def _outside(values: np.ndarray, low: int, high: int) -> int:
    """The first value not in `low..high-1`."""
    return int(values[(values < low) | (values >= high)][0])


class SolveStatus(enum.StrEnum):
    """How a solve ended; `stalled`: it can do no better, and the residual of what it found is too large."""

    CONVERGED = "converged"
    STALLED = "stalled"
    MAX_ITERATIONS = "max_iterations"
    NEGATIVE_CURVATURE = "negative_curvature"
    NON_FINITE = "non_finite"
    DIVERGED = "diverged"
    EARLY_STOP = "early_stop"
    ZERO_RIGHT_HAND_SIDE = "zero_right_hand_side"


@dataclasses.dataclass(frozen=True)
class SolveReport:
    """What a linear solve did; one entry a solve in the result file.

    Attributes:
        solver: Name of the solver (`cg`, `kronecker`, `lissa`, `dense`).
        status: How it ended.
        iterations: Iterations taken.
        relative_residual: `||b - A x|| / ||b||` of the returned solution.
        damping: The damping that was added to the diagonal of the curvature.
        lambda_max: Estimate of the largest eigenvalue of the undamped curvature, or None.
        negative_curvature: Whether a direction with `p.A p <= 0` was met.
        matvecs: Curvature-vector products spent, power iteration included.
    """

    solver: str
    status: SolveStatus
    iterations: int
    relative_residual: float
    damping: float
    lambda_max: float | None
    negative_curvature: bool
    matvecs: int


@dataclasses.dataclass(frozen=True)
class WorkCount:
    """Per-example evaluations spent, counted where they are asked for (never at trace time).

    Attributes:
        forward_rows: Examples pushed forward (features, predictions, validation).
        gradient_rows: Examples whose loss gradient was evaluated.
        curvature_rows: Examples times curvature-vector products.
    """

    forward_rows: int = 0
    gradient_rows: int = 0
    curvature_rows: int = 0

    def __add__(self, other: WorkCount) -> WorkCount:
        return WorkCount(*(a + b for a, b in zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)))


class OutcomeStatus(enum.StrEnum):
    """Why the returned model is what it is."""

    IMPROVED = "improved"
    NOTHING_IMPROVED = "nothing_improved"
    WORSE_ON_VALIDATION = "worse_on_validation"
    FLAGGED_ROWS_WORSE = "flagged_rows_worse"
    NOT_BEYOND_CHANCE = "not_beyond_chance"
    NOTHING_FLAGGED = "nothing_flagged"
    NON_FINITE = "non_finite"


@dataclasses.dataclass(frozen=True, eq=False)
class UnlearningOutcome:
    """What a method returns.

    Attributes:
        model: A new Keras model; the input model is never touched. Equal in weights to the input if not `applied`.
        applied: Whether any weight was changed.
        status: Why.
        validation_accuracy_before: Accuracy of the input model on the task's whole validation split.
        validation_accuracy_after: The same for the returned model; never lower.
        history: One mapping a step (step 0 is the input model): the rows of `log_step.csv`. Its `validation_accuracy`
            is that on the rows that choose.
        solves: One report a linear solve.
        solver_log: One mapping a solver iteration: the rows of `log_solver.csv`.
        work: Per-example evaluations spent.
        duration_s: Wall-clock seconds, feature pass and hyperparameter search included, preparation not.
        preparation_duration_s: Wall-clock seconds of what is done before anybody knows that a row is bad (the training
            of the shards of `sharding`); 0 for most methods.
        preparation_cpu_s: Process CPU seconds of the same.
        details: What else a method wants in the result files, as JSON-ready values; no lists of rows.
        rows: Lists of rows by name, int64, such as `forget_rows`; those of a chain's stages are named `stage.name`.
        acceptance: The two numbers that decided; None where there was nothing to decide about.
        moved: Which parameters the proposed model changed; None where nothing was proposed.
    """

    model: Any
    applied: bool
    status: OutcomeStatus
    validation_accuracy_before: float
    validation_accuracy_after: float
    history: Sequence[Mapping[str, Any]]
    solves: Sequence[SolveReport]
    solver_log: Sequence[Mapping[str, Any]]
    work: WorkCount
    duration_s: float
    preparation_duration_s: float = 0.0
    preparation_cpu_s: float = 0.0
    details: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    rows: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    acceptance: Acceptance | None = None
    moved: Moved | None = None
