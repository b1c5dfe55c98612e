"""Hyperparameters of feature-space unlearning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, NamedTuple

from unlearning.settings import Count, NonNegative, Positive, PositiveFloat, Settings, Share, since

View = Literal["inference", "training"]
"""Whether a model is looked at in inference mode or in training mode."""

PUBLISHED = "published"
"""Group of the settings that version 0.1 did not have, since it knew the published schedule alone."""

Schedule = Annotated[Literal["linear", "milestones"], since("0.2", before="milestones", group=PUBLISHED)]
"""How the learning rate falls."""
CentroidRows = Annotated[Count, since("0.2", before=0, group=PUBLISHED)]
"""Number of rows that the centroids are made of; 0: all."""
Preset = Literal["pull", "original", "nll"]
"""A set of factors; see `PRESETS`."""

PRESETS: Mapping[str, Mapping[str, float]] = {
    "pull": {"forget_kl": 0.0, "forget_push": 0.0, "retain_ce": 1.0, "retain_pull": 20.0},
    "original": {"forget_kl": 1.0, "forget_push": 0.5, "retain_ce": 1.0, "retain_pull": 500.0},
    "nll": {"forget_kl": 1.0, "forget_push": 1.0, "retain_ce": 5.0, "retain_pull": 1.0},
}
"""Factors of the loss terms. `pull`: no forget pass. The others are those that the published README gives: for models
trained with plain cross-entropy (`original`), and for models whose training already resisted noisy labels (`nll`)."""


class Factors(NamedTuple):
    """Factors of the loss terms: `eta`, `zeta`, `gamma`, `delta` and `alpha` of the equations in `losses`."""

    forget_kl: float
    forget_push: float
    retain_ce: float
    retain_pull: float
    retain_kl: float


class CentroidSettings(Settings):
    """Hyperparameters of feature-space unlearning.

    The defaults are the centroid pull: rows to forget are left out, and the others are drawn to the centroids while the
    learning rate falls to zero. With `preset="original"` or `"nll"` there is a forget pass, too.

    A factor of 0 takes a term away, and not only that: the terms share one optimizer and one clipping, so that what is
    left takes shorter steps, or fewer. Each field says how to keep them as they were where that is to be compared.
    """

    preset: Preset = "pull"
    """`"pull"`, `"original"` or `"nll"`: where the factors that are null come from; see `PRESETS`."""
    forget_kl: NonNegative | None = None
    """Factor of the divergence from the unmodified model on forget rows, which is raised. Where this and `forget_push`
    are 0 there is no forget pass: its steps are missing, and what they do to momentum and batch statistics, too."""
    forget_push: NonNegative | None = None
    """Factor of the cosine to the near centroids on forget rows, which is lowered."""
    retain_ce: NonNegative | None = None
    """Factor of the loss the model is compiled with, regularisers included."""
    retain_pull: NonNegative | None = None
    """Factor of the cosine to the centroid of the given label on retain rows, which is raised. With SGD a
    factor of hundreds makes the steps, too: on `digits` they are 80 times shorter with 0, and half as long again with
    `retain_ce=500` in its place, which is the fairer comparison. Adam's steps are as long with any factor."""
    retain_kl: NonNegative = 0.0
    """Factor of the divergence on retain rows, which is lowered; SCRUB has it, FSPMU has not."""
    temperature: PositiveFloat = 0.5
    """Of both divergences."""
    weight_power: PositiveFloat = 2.0
    """Exponent of the cosines that weight the push."""
    positive_weights: bool = False
    """Push only away from centroids that a feature points towards."""
    forget_epochs: Count = 5
    """The first so many epochs begin with a forget pass."""
    forget_batch_size: Positive = 512
    """Rows a forget step."""
    batch_size: Positive = 128
    """Rows of a batch of `retain_batches`, and of the centroids."""
    learning_rate: PositiveFloat | None = 1e-3
    """Of the first epoch; null leaves the optimizer's own."""
    schedule: Schedule = "linear"
    """`"linear"`: the learning rate falls to zero with every step, and the model after the last one is scored;
    `"milestones"`: it falls after some epochs, and the model is scored after each epoch."""
    milestones: tuple[int, ...] = (7, 10, 10)
    """Epochs after which the learning rate falls where it does so by `"milestones"`."""
    decay: PositiveFloat = 0.1
    """Factor by which it falls there."""
    clip: PositiveFloat | None = None
    """Largest absolute value of a gradient entry in both passes; null leaves the optimizer's own clipping. It
    bounds the steps; how much longer they are without it depends on the model (4 % on `digits`)."""
    centroids: Literal["soft", "hard"] = "hard"
    """`"soft"`: rows count towards each class by the predicted probability; `"hard"`: by the given label."""
    centroid_rows: CentroidRows = 4096
    """Make the centroids of this many random retain rows; 0: of all."""
    refresh: Count = 0
    """Recompute the centroids every so many epochs; 0: never."""
    view: View = "inference"
    """`"inference"`: centroids (and losses for the mixture) in inference mode; `"training"`: with the statistics of the
    batch, as the published code has it."""
    exclude_forget: bool = True
    """Take forget rows out of the retain rows."""
    stop_agreement: Share | None = None
    """End the forget passes once the model's class equals the unmodified model's on no more than this share of the
    forget rows; no label is looked at. Null: never."""
    feature_layer: str | None = None
    """Name of the dense layer whose input is the feature vector; null for the last one."""
    augment: bool | None = None
    """Random shifts and mirroring in both passes; null for none."""
    batch_norm_rows: Count = 2048
    """Re-estimate batch normalisation from this many random retain rows before scoring; 0: off."""

    def factors(self) -> Factors:
        """Returns the factors of the loss terms, those left open filled in from the preset."""
        values = {name: getattr(self, name) for name in Factors._fields}
        return Factors(**{n: PRESETS[self.preset][n] if value is None else value for n, value in values.items()})
