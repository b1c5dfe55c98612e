"""Hyperparameters of the projection."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Gt, MinLen
from pydantic import model_validator

from unlearning.errors import InputError
from unlearning.settings import Count, Positive, Settings

Selection = Literal["loss", "random", "curvature"]
"""How trusted rows are chosen; see `unlearning.projection.selection.select_trusted`."""


class ProjectionSettings(Settings):
    """Hyperparameters of the projection."""

    alphas: Annotated[tuple[Annotated[float, Gt(1)], ...], MinLen(1)] = (1e6, 3e5, 1e5, 3e4, 1e4, 3e3, 1e3)
    """Scales to try, each greater than 1; larger ones change less."""
    patience: Positive = 2
    """The search ends after this many alphas in a row that lose over a point against the unmodified network."""
    trusted_count: Positive = 1000
    """Number of trusted rows."""
    selection: Selection = "loss"
    """`"loss"`, `"curvature"` or `"random"`; see `select_trusted`."""
    balanced: bool = True
    """Trust equally many rows of every given class."""
    candidates: int | None = None
    """Score only a random draw of this many training rows; null for all."""
    max_rows: Positive = 20_000
    """About how many rows (patches, tokens) of a layer enter its statistics."""
    include: tuple[str, ...] = ("*",)
    """Patterns of layers to project, such as `["conv_*"]`."""
    exclude: tuple[str, ...] = ()
    """Patterns of layers to leave alone."""
    rounds: Positive = 1
    """Repetitions, each with statistics of the network projected so far."""
    batch_norm_rows: Count = 0
    """Re-estimate batch normalisation from this many random training rows after projecting; 0: off. What that does
    without a projection, `alphas=[1e12]` shows, which chooses among one candidate and the old network."""
    per_layer: bool = False
    """After the common alpha, choose one for each layer in turn (or none), on validation."""
    statistics: Literal["activations", "isotropic", "isotropic-step"] = "activations"
    """`"activations"`, or a control that shrinks every kernel, all directions alike: `"isotropic"` to the norm that the
    projection leaves (so that it moves less far than the projection), `"isotropic-step"` by a step as long as the
    projection's (so that less is left)."""

    @model_validator(mode="after")
    def _check(self) -> ProjectionSettings:
        if self.candidates is not None and self.candidates < self.trusted_count:
            raise InputError("candidates", f"at least trusted_count ({self.trusted_count}), or null", self.candidates)
        return self
