"""Hyperparameters of the influence updates: what is differentiated, and how the curvature is inverted."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import MinLen

from unlearning.activations import MEMORY_LIMIT_BYTES
from unlearning.settings import Count, NonNegative, OpenShare, Positive, PositiveFloat, Settings, Share, since

Curvature = Literal["bound", "gauss-newton", "hessian"]
"""The matrix that stands for the curvature; see `unlearning.influence.objective`."""
Squares = Literal["examples", "batches"]
"""What is squared and averaged: the gradients of rows, or those of batches."""
StepRows = Literal["flagged", "errors"]
"""The rows whose gradient difference drives a step; see `unlearning.influence.steps`."""

_PositiveFloats = Annotated[tuple[PositiveFloat, ...], MinLen(1)]


class FeatureSettings(Settings):
    """Where to cut the model and how to keep the frozen part's features."""

    trainable_from: str | None = None
    """First layer to update, `"all"`, or null or `"head"` for the dense head."""
    cache_features: bool = True
    """Compute the backbone's outputs once (False re-runs it in every evaluation)."""
    feature_dtype: Literal["float32", "float16", "float64"] = "float32"
    """`"float32"`, or `"float16"` for half the space."""
    batch_rows: Positive = 1024
    """Rows a pass."""
    memory_limit_bytes: Count = MEMORY_LIMIT_BYTES
    """Above this size the features live in a memory-mapped file."""


class CurvatureSettings(Settings):
    """How the curvature is built, inverted and damped."""

    solver: Literal["cg", "kronecker", "kronecker-cg", "lissa", "dense"] = "kronecker"
    """`"kronecker"` (factors per layer, see `unlearning.influence.kronecker`; where no layer has any, `"cg"`), `"cg"`,
    `"kronecker-cg"` (conjugate gradients that these factors precondition), `"lissa"` (published recursion and
    constants), or `"dense"` (exact, small heads)."""
    curvature: Curvature = "bound"
    """`"bound"`, which no output probability exceeds, `"gauss-newton"`, or `"hessian"` (not with
    `solver="kronecker"`)."""
    curvature_rows: Positive | None = 4096
    """Most rows from which the curvature is built, drawn at random; null for all. The gradient always uses all rows."""
    curvature_from: Annotated[Literal["random", "flagged", "all"], since("0.2", before="random")] = "random"
    """Which rows those are drawn from: `"random"`, all training rows; `"flagged"`, those of them that are flagged and
    stay, where the gradient comes from; `"all"` takes every row, whatever `curvature_rows` says."""
    smoothing: Share = 0.1
    """Share of the uniform distribution in the probabilities of the Gauss-Newton matrix; 0 is the plain matrix (see
    `unlearning.influence.objective` for why that fails on memorised rows)."""
    dampings: _PositiveFloats = (1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 1e-5)
    """Shares of the largest eigenvalue to try (not `lissa`)."""
    step_lengths: _PositiveFloats = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
    """Multiples of the solution to try (not `lissa`)."""
    cg_iterations: Positive = 20
    """Most products a solve; with `kronecker-cg`, a damping."""
    cg_rtol: OpenShare = 1e-3
    """Relative residual of the least damped system at which a solve ends."""
    power_iterations: Positive = 10
    """Products spent on the largest eigenvalue, once."""
    lissa_scale: PositiveFloat = 2e5
    """See `Lissa`."""
    lissa_damping: NonNegative = 1e-4
    """See `Lissa`."""
    lissa_batch_rows: Positive = 1024
    """See `Lissa`."""
    lissa_patience: Positive = 20
    """See `Lissa`."""
    lissa_iterations: Positive | None = None
    """Upper limit on the recursion; null as published."""
