"""The kinds of noise by name. What a kind is made of is imported when it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from unlearning.registry import Entry, Registry, Role

if TYPE_CHECKING:
    from unlearning.noise.base import Noise

_FILE = frozenset({"labels_file"})


def _own(name: str, target: str, summary: str, family: str, needs: frozenset[str] = frozenset()) -> Entry:
    return Entry(name, f"unlearning.noise.kinds.{target}", summary, Role.PUBLISHED, family, needs)


NOISES = Registry(
    "noise",
    "unlearning.noises",
    (
        _own("flip-pairs", "flip_pairs:FlipPairs", "classes s and K-1-s exchanged, the same number a class", "classes"),
        _own("symmetric", "uniform:Symmetric", "any other class", "uniform"),
        _own("symmetric-inclusive", "inclusive:SymmetricInclusive", "any class, the right one included", "uniform"),
        _own("asymmetric", "asymmetric:Asymmetric", "the class each is confused with", "classes"),
        _own(
            "asymmetric-inclusive",
            "inclusive:AsymmetricInclusive",
            "the class each is confused with, drawn among all rows",
            "classes",
        ),
        _own("pair", "uniform:Pair", "the next class", "uniform"),
        _own("subclass-dominant", "subclass:SubclassDominant", "one subclass of every class mistaken", "classes"),
        _own("instance", "instance:InstanceDependent", "the image decides which class it is mistaken for", "images"),
        _own("human", "human:Human", "labels that people gave, from a CIFAR-10N file", "files", _FILE),
        _own("recorded", "recorded:Recorded", "labels from a JSON list", "files", _FILE),
        _own("backdoor", "backdoor:Backdoor", "a bright square in the image, and the label of one class", "images"),
    ),
)
"""Kinds by name, each a `Noise`."""

register = NOISES.register
entry = NOISES.entry
available = NOISES.names
summaries = NOISES.summaries


def get(name: str, options: Mapping[str, Any] | None = None) -> Noise:
    """Builds a kind of noise by name.

    Passes on an `InputError` if there is none of this name, it has no such input, or a value does not fit.

    Args:
        name: A registered name.
        options: Its inputs that differ from their defaults, by name.

    Returns:
        The kind.

    Example:
        >>> get("backdoor", {"target": 3}).recorded()
        {'options': {'target': 3}}
    """
    return NOISES.build(name, options)
