"""Which rows feature-space unlearning forgets: as it was told, by a published rule, or by a detector."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from unlearning import detection
from unlearning.errors import InputError
from unlearning.streams import stream_seed
from unlearning.task import OutcomeStatus, UnlearningTask, WorkCount

if TYPE_CHECKING:
    import keras

    from unlearning.centroids.settings import View
    from unlearning.methods.fspmu import Fspmu

RULES = ("known", "gmm", "memorised")
"""Where forget rows come from, other than a detector."""


@dataclasses.dataclass(frozen=True, eq=False)
class ForgetRows:
    """Rows to forget and how they were found.

    Attributes:
        forget: Row numbers; empty where there is nothing to forget.
        retain: Row numbers to retain; None for all (others).
        work: What it took.
        details: What to report.
        status: Why there are none, where that is not for lack of suspects.
    """

    forget: np.ndarray
    retain: np.ndarray | None = None
    work: WorkCount = dataclasses.field(default_factory=WorkCount)
    details: dict[str, Any] = dataclasses.field(default_factory=dict)
    status: OutcomeStatus | None = None


def find(method: Fspmu, model: keras.Model, tuned: keras.Model, task: UnlearningTask) -> ForgetRows:
    """Finds the rows to forget.

    Args:
        method: Its `pred` says how.
        model: The model; it is not changed.
        tuned: The model's working copy, with logits where it can have them; it is not changed.
        task: What is known.

    Returns:
        The rows.
    """
    from unlearning.centroids.mixture import memorised_split, mixture_split

    if method.pred == "known":
        return ForgetRows(task.corrections.rows)
    if method.pred not in RULES:
        return _detect(method, model, task)
    threshold, normalise = method.gmm_threshold, method.gmm_normalise
    final = _losses(method, tuned, task, method.view)
    work = WorkCount(forward_rows=len(task.train))
    if not np.isfinite(final).all():
        return _nowhere(work)
    if method.pred == "gmm":
        split = mixture_split(final, threshold, task.seed, normalise=normalise)
        return ForgetRows(split.forget, work=work, details={"mixture": split.details()})
    early = _losses(method, _probe(method, tuned, task), task, "inference")
    work += WorkCount(forward_rows=len(task.train), gradient_rows=method.probe_epochs * len(task.train))
    if not np.isfinite(early).all():
        return _nowhere(work)
    both = memorised_split(early, final, threshold, task.seed, normalise=normalise)
    return ForgetRows(both.forget, both.retain, work, {"mixture": both.details()})


def _nowhere(work: WorkCount) -> ForgetRows:
    return ForgetRows(np.empty(0, np.int64), work=work, status=OutcomeStatus.NON_FINITE)


def _losses(method: Fspmu, model: keras.Model, task: UnlearningTask, view: View) -> np.ndarray:
    from unlearning.centroids.mixture import row_losses

    return row_losses(
        model,
        task.train,
        task.num_classes,
        view=view,
        # The published code augments what it scores in either mode.
        augment=bool(method.augment) and method.view == "training",
        batch_size=method.batch_size,
        seed=task.seed,
    )


def _probe(method: Fspmu, model: keras.Model, task: UnlearningTask) -> keras.Model:
    """Returns a model of the same architecture, trained for a few epochs on the given labels."""
    import keras

    from unlearning import feeding
    from unlearning.interop import gives_probabilities
    from unlearning.training import ShuffledBatches
    from unlearning.training.afresh import draw_afresh

    seed = stream_seed(task.seed, "method", "probe")
    probe = draw_afresh(model, seed, logits=False)
    closed = gives_probabilities(probe, task.train.images, task.num_classes)
    probe.compile(
        keras.optimizers.SGD(
            method.probe_learning_rate, momentum=method.momentum, weight_decay=method.weight_decay or None
        ),
        keras.losses.SparseCategoricalCrossentropy(from_logits=not closed),
    )
    rows = ShuffledBatches(
        task.train.images,
        task.train.labels,
        batch_size=method.batch_size,
        seed=seed,
        augment=bool(method.augment),
    )
    feeding.fit(probe, rows, epochs=method.probe_epochs)
    return probe


def _detect(method: Fspmu, model: keras.Model, task: UnlearningTask) -> ForgetRows:
    from unlearning.evaluation import predict

    detector = detection.get(method.pred, method.pred_options)
    work = WorkCount(forward_rows=len(task.train))
    try:
        detected = detector.detect(model, task.train, task.num_classes, task.seed)
    except InputError:
        if np.isfinite(predict(model, task.train.images)).all():
            raise
        return _nowhere(work)
    details = {
        "detector": method.pred,
        "options": detector.config(),
        "status": str(detected.status),
        "suspects": len(detected.suspects),
    }
    return ForgetRows(detected.suspects, work=work, details={"detection": details})
