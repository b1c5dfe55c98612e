"""SCRUB: part from the unmodified model on forget rows, and stay with it on all others.

    L_forget = -eta KL(old || new),   L_retain = gamma CE + alpha KL(old || new)

Kurmanji, Triantafillou, Hayes and Triantafillou, "Towards Unbounded Machine Unlearning", NeurIPS 2023. It is
`fspmu-reference` without the centroids; schedule, clipping and the factors are those of its comparison run in
github.com/meruemon/FSPMU, which lists `alpha` but never applies it. At the same learning rate
its steps are shorter than those of `fspmu-reference`, whose pull has a factor of hundreds.

Example:
    >>> from unlearning.methods.scrub import Scrub
    >>> outcome = Scrub(epochs=2).unlearn(model, task)
    >>> outcome.validation_accuracy_after >= outcome.validation_accuracy_before
    True
"""

from __future__ import annotations

from unlearning.methods.fspmu_reference import FspmuReference
from unlearning.settings import NonNegative


class Scrub(FspmuReference):
    """SCRUB of a trained model; the fields are those of `FspmuReference`."""

    forget_kl: NonNegative | None = 0.5
    """The `eta`."""
    forget_push: NonNegative | None = 0.0
    """None: SCRUB knows no centroids."""
    retain_ce: NonNegative | None = 1.0
    """The `gamma`."""
    retain_pull: NonNegative | None = 0.0
    """None: SCRUB knows no centroids."""
    retain_kl: NonNegative = 0.01
    """The `alpha`."""
