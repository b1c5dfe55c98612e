"""The objectives by name. Nothing here imports Keras."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unlearning.registry import Entry, Registry, Role
from unlearning.training.objectives.base import Objective


def _own(name: str, target: str, summary: str, role: Role = Role.PUBLISHED, family: str = "") -> Entry:
    return Entry(name, f"unlearning.training.objectives.{target}", summary, role, family or name)


OBJECTIVES = Registry(
    "objective",
    "unlearning.objectives",
    (
        _own("cross-entropy", "cross_entropy:CrossEntropy", "plain cross-entropy", Role.CONTROL),
        _own("mixup", "mixup:Mixup", "cross-entropy on blends of two images and their labels"),
        _own("sam", "sam:Sam", "cross-entropy, lowered in a neighbourhood of the weights (two passes a step)"),
        _own("logit-clip", "logit_clip:LogitClipping", "cross-entropy of logits whose norm is capped"),
        _own(
            "mentornet",
            "mentor:MentorNet",
            "cross-entropy of the rows whose loss is below a moving threshold",
            family="mentor",
        ),
        _own(
            "mentormix",
            "mentor:MentorMix",
            "blends that lean on the rows below a moving threshold (two passes a step)",
            family="mentor",
        ),
        _own(
            "label-smoothing",
            "label_smoothing:LabelSmoothing",
            "cross-entropy against labels smoothed by a positive or negative rate",
        ),
    ),
)
"""What a model can be trained for."""

register = OBJECTIVES.register
entry = OBJECTIVES.entry
available = OBJECTIVES.names
summaries = OBJECTIVES.summaries


def get(name: str, options: Mapping[str, Any] | None = None) -> Objective:
    """Builds an objective by name.

    Passes on an `InputError` if there is none of this name, it has no such option, or a value does not fit.

    Args:
        name: A registered name.
        options: Its options that differ from their defaults, by name.

    Returns:
        The objective.

    Example:
        >>> get("mixup", {"alpha": 0.4}).config()
        {'alpha': 0.4}
    """
    return OBJECTIVES.build(name, options)
