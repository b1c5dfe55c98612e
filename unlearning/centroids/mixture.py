"""Forget rows from losses alone: a mixture of two Gaussians tells low losses from high ones.

Rows that the model finds hard for their given label are more often mislabelled (Arazo et al., ICML 2019; Li et al.,
"DivideMix", ICLR 2020). The mixture is the one of `unlearning.detection.mixture`; here are the rules of
github.com/meruemon/FSPMU for what to do with it. They fit raw losses (10 iterations, tolerance 0.01, variance floor
5e-4) and take the posterior as it is, where the detector `loss-mixture` normalises, keeps to one crossing, and refuses
a mixture whose means do not stand apart. A model that has memorised its wrong labels has low losses everywhere; the
variance floor then hides what is left of the difference, unless the losses are normalised first.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from unlearning.centroids.settings import View
from unlearning.detection.mixture import Mixture, fit_mixture
from unlearning.errors import InputError
from unlearning.interop import gives_probabilities, inference_arguments, read_logits
from unlearning.progress import progress_bar
from unlearning.streams import stream
from unlearning.task import Split
from unlearning.training.batches import shift_and_mirror


@dataclasses.dataclass(frozen=True, eq=False)
class MixtureSplit:
    """A fitted mixture and the rows on either side.

    Attributes:
        retain: int64 row numbers whose label seems right.
        forget: int64 row numbers of all others.
        clean_probability: float64 array `(rows,)`: posterior of the component with the lower mean.
        mixture: The mixture, in the unit of the losses; None where all losses are the same.
    """

    retain: np.ndarray
    forget: np.ndarray
    clean_probability: np.ndarray
    mixture: Mixture | None

    def details(self) -> dict[str, Any] | None:
        """Returns the mixture (without rows) as JSON-ready values; None where there is none."""
        return None if self.mixture is None else self.mixture.describe()


@dataclasses.dataclass(frozen=True, eq=False)
class MemorisedSplit:
    """Rows that an early model finds noisy and the final one clean.

    Attributes:
        retain: int64 row numbers that the final model finds clean; forget rows are among them.
        forget: int64 row numbers of memorised noise.
        early: The split by the early model's losses.
        final: The split by the final model's losses.
    """

    retain: np.ndarray
    forget: np.ndarray
    early: MixtureSplit
    final: MixtureSplit

    def details(self) -> dict[str, Any]:
        """Returns both mixtures (without rows) as JSON-ready values."""
        return {"early": self.early.details(), "final": self.final.details()}


def mixture_split(
    losses: np.ndarray, threshold: float = 0.5, seed: int = 0, *, normalise: bool = False
) -> MixtureSplit:
    """Splits rows by a mixture of two Gaussians on their losses.

    A row is retained iff `P(low component | loss) > threshold`. Losses that are all the same say nothing: every row is
    retained.

    Args:
        losses: Finite losses of shape `(rows,)`, at least two.
        threshold: In `0..1`.
        seed: Of the initialisation.
        normalise: Fit on the losses mapped to `0..1`.

    Returns:
        The split.

    Raises:
        InputError: If losses or threshold are not as described.
    """
    losses = np.asarray(losses, dtype=np.float64)
    if losses.ndim != 1 or len(losses) < 2:
        raise InputError("losses", "an array of shape (rows,) with at least two rows", f"shape {losses.shape}")
    if not np.isfinite(losses).all():
        raise InputError("losses", "finite numbers", f"{np.count_nonzero(~np.isfinite(losses))} that are not")
    if not 0 <= threshold < 1:
        raise InputError("threshold", "a float in [0, 1)", threshold)
    everything = np.arange(len(losses))
    if np.ptp(losses) == 0:
        return MixtureSplit(everything, everything[:0], np.ones(len(losses)), None)
    mixture = fit_mixture(losses, normalise=normalise, seed=seed)
    clean = 1 - mixture.posterior(losses)
    retained = clean > threshold
    return MixtureSplit(everything[retained], everything[~retained], clean, mixture)


def memorised_split(
    early_losses: np.ndarray,
    final_losses: np.ndarray,
    threshold: float = 0.5,
    seed: int = 0,
    *,
    normalise: bool = False,
) -> MemorisedSplit:
    """Splits rows for a model whose training already resisted noise: forget what it has memorised all the same.

        forget = {early model: noisy} & {final model: clean},   retain = {final model: clean}

    Forget rows are among the retain rows, as in github.com/meruemon/FSPMU; `CentroidSettings.exclude_forget` takes them
    out. Rows that the final model finds noisy are in neither set.

    Args:
        early_losses: Losses of a model trained for a few epochs, shape `(rows,)`.
        final_losses: Losses of the model to be corrected, shape `(rows,)`.
        threshold: See `mixture_split`.
        seed: See `mixture_split`.
        normalise: See `mixture_split`; each of the two is mapped by itself.

    Returns:
        The split.

    Raises:
        InputError: If the two differ in shape, or are not what `mixture_split` takes.
    """
    if np.shape(early_losses) != np.shape(final_losses):
        raise InputError("early_losses", f"the shape of final_losses, {np.shape(final_losses)}", np.shape(early_losses))
    early = mixture_split(early_losses, threshold, seed, normalise=normalise)
    final = mixture_split(final_losses, threshold, seed, normalise=normalise)
    return MemorisedSplit(final.retain, np.intersect1d(early.forget, final.retain), early, final)


def row_losses(
    model: keras.Model,
    rows: Split,
    num_classes: int,
    *,
    view: View = "inference",
    augment: bool = False,
    batch_size: int = 128,
    seed: int = 0,
) -> np.ndarray:
    """Returns the cross-entropy of every row with its given label, `-log softmax(z_i)[y_i]`.

    Args:
        model: A classifier with logits or probabilities; no state of it changes.
        rows: Images and given labels.
        num_classes: Number of classes.
        view: `"inference"`, or `"training"`: batch statistics of shuffled batches, dropout on (what the published code
            scores with; it also overwrites the moving statistics on the way, which is not done here).
        augment: Score randomly shifted and mirrored images.
        batch_size: Rows a forward pass.
        seed: Of order and augmentation.

    Returns:
        float64 array of shape `(rows,)`.

    Raises:
        InputError: If model and rows do not fit each other, or the split is empty.
    """
    if not len(rows):
        raise InputError("rows", "at least one row", "none")
    closed = gives_probabilities(model, rows.images, num_classes)
    forward = stateless_forward(model, training=view == "training", closed=closed)
    rng = stream(seed, "method", "loss batches")
    order = rng.permutation(len(rows)) if view == "training" else np.arange(len(rows))
    losses = np.empty(len(rows))
    for start in progress_bar(range(0, len(rows), batch_size), description="losses", unit="batch"):
        chosen = order[start : start + batch_size]
        images = np.asarray(rows.images[chosen])
        logits = forward(shift_and_mirror(images, rng) if augment else images)
        losses[chosen] = tf.nn.sparse_softmax_cross_entropy_with_logits(rows.labels[chosen], logits).numpy()
    return losses


def stateless_forward(model: keras.Model, *, training: bool, closed: bool):  # type: ignore[no-untyped-def]
    """Returns a function from images to logits `(B, K)` that leaves every variable of the model as it is."""
    arguments = dict.fromkeys(inference_arguments(model), training)

    @tf.function(reduce_retracing=True, autograph=False)
    def forward(images: tf.Tensor) -> tf.Tensor:
        variables = [v.value for v in model.trainable_variables], [v.value for v in model.non_trainable_variables]
        scores, _ = model.stateless_call(*variables, images, **arguments)
        return read_logits(scores, closed)

    return forward
