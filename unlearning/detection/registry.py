"""The detectors by name. Nothing here imports Keras, nor NumPy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from unlearning.registry import Entry, Registry, Role
from unlearning.settings import fill_older

if TYPE_CHECKING:
    from unlearning.detection.base import Detector


def _own(name: str, target: str, summary: str, role: Role, family: str, *needs: str) -> Entry:
    return Entry(name, f"unlearning.detection.detectors.{target}", summary, role, family, frozenset(needs))


DETECTORS = Registry(
    "detector",
    "unlearning.detectors",
    (
        _own(
            "loss-mixture",
            "losses:LossMixture",
            "two Gaussians on the losses; the rows of the higher one",
            Role.PUBLISHED,
            "losses",
        ),
        _own("gmm", "losses:LossMixture", "another name of loss-mixture", Role.PUBLISHED, "losses"),
        _own(
            "loss-ranking",
            "losses:LossRanking",
            "the highest losses, a given share or number of them",
            Role.CONTROL,
            "losses",
        ),
        _own(
            "confident-learning",
            "confident_learning:ConfidentLearning",
            "cleanlab on predicted probabilities (needs cleanlab)",
            Role.PUBLISHED,
            "unseen",
            "cleanlab",
        ),
        _own(
            "self-influence",
            "self_influence:SelfInfluence",
            "the length of the row's own gradient in the last layer",
            Role.PUBLISHED,
            "influence",
        ),
        _own(
            "neighbours",
            "neighbours:Neighbours",
            "nearest neighbours in feature space that carry another label",
            Role.PUBLISHED,
            "neighbours",
        ),
        _own(
            "cross-validation",
            "cross_validation:CrossValidation",
            "the given label's loss under a probe that never saw the row",
            Role.CONTROL,
            "unseen",
        ),
        _own(
            "patches",
            "patch_ridge:PatchRidge",
            "leave-one-out ridge regression on label-free patch features",
            Role.RECOMMENDED,
            "probes",
        ),
        _own(
            "pretrained",
            "pretrained:Pretrained",
            "leave-one-out ridge regression on what a pretrained network sees (--eyes)",
            Role.RECOMMENDED,
            "probes",
        ),
        _own(
            "probabilities",
            "brought:Brought",
            "class probabilities from a file of yours",
            Role.CONTROL,
            "unseen",
        ),
        _own(
            "probe",
            "early_stopped:EarlyStoppedProbe",
            "the same network, trained afresh and stopped early",
            Role.PUBLISHED,
            "probes",
        ),
        _own(
            "pooled",
            "pooled:Pooled",
            "patches and probe together: the geometric mean of their probabilities",
            Role.RECOMMENDED,
            "probes",
        ),
        _own(
            "combination",
            "combination:Combination",
            "the mean rank under several detectors",
            Role.CONTROL,
            "combination",
        ),
    ),
)
"""All that finds wrong labels. `needs` names packages that must be installed."""

WITH_EYES = "pretrained"
"""The detector that looks with eyes where they are named and no detector is."""

register = DETECTORS.register
entry = DETECTORS.entry
available = DETECTORS.names
summaries = DETECTORS.summaries


def get(name: str, overrides: Mapping[str, Any] | None = None) -> Detector:
    """Builds a detector by name.

    Passes on an `InputError` if the name or a field is unknown, or a value does not fit.

    Args:
        name: A registered name.
        overrides: Options to change, by field name. Text is read as JSON where it is JSON, and as a plain string
            otherwise.

    Returns:
        The detector, frozen settings.

    Example:
        >>> get("loss-ranking", {"share": "0.1"}).config()["share"]
        0.1
    """
    return DETECTORS.build(name, overrides)


def complete(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a detector's recorded options with those that are left out because they are as before.

    Args:
        name: A registered name.
        options: As recorded.
    """
    found: dict[str, Any] = fill_older(DETECTORS.load(name), dict(options))
    return found
