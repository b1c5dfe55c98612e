"""Which repair is the best: the one rule of the report page, of `show` and of every headline.

Repairs are ranked within one protocol only: at one budget, with one kind of validation rows, told the same of bad rows.
Controls and gold standards are no rivals. The one whose mean test accuracy is highest is *best* if it helped, has a
rival, and is ahead of each rival by more than chance: the interval of the difference, paired by seed, excludes 0, and
the difference is larger than what the number of test rows explains. Rivals of which that does not hold *tie* with it.
Where seeds are too few for an interval, the test rows alone say who ties, and nothing is called best: the first is
*ahead*.

Example:
    >>> round(100 * rows_explain(0.9, 270), 1)
    3.6
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Hashable, Iterable, Mapping
from typing import TypeVar

from unlearning import methods
from unlearning.errors import InputError
from unlearning.experiments.results.compare import FEWEST_PAIRS, compare_pairs, mean_std
from unlearning.methods.described import information
from unlearning.records import UnlearningResults
from unlearning.registry import Role

K = TypeVar("K", bound=Hashable)

_TAGS = {Role.CONTROL: "control", Role.GOLD: "gold standard"}


class Standing(enum.StrEnum):
    """Where a repair stands among its rivals; those behind the first have none."""

    BEST = "best"
    """Ahead of every rival by more than chance."""
    TIE = "tie"
    """First, or not told apart from the first."""
    AHEAD = "ahead"
    """First by more than the test rows explain, of too few seeds to say more."""


@dataclasses.dataclass(frozen=True)
class Protocol:
    """What repairs must have in common to be ranked.

    Attributes:
        validation: What choices were made on, `noisy` or `clean` validation labels.
        told: What was known of bad rows: `right labels`, `bad rows`, `nothing, detected`, `nothing`, or `unknown`.
        known: Share of the bad rows of which it was known.
    """

    validation: str
    told: str
    known: float


def protocol_of(result: UnlearningResults) -> Protocol:
    """Returns the protocol of a repair."""
    settings = result.config.hyperparameters
    told = information(result.method, settings)
    detected = told == "nothing" and isinstance(settings.get("detector"), Mapping)
    return Protocol(
        result.config.validation, "nothing, detected" if detected else told, float(result.config.known_share)
    )


def find_tag(method: str) -> str:
    """What a method is called that is there for comparison and is never the best: `control`, `gold standard` or empty.

    Args:
        method: Its registered name, or a chain's. What the registry does not know is an ordinary method.

    Returns:
        The words.
    """
    try:
        return _TAGS.get(methods.entry(method).role, "")
    except InputError:
        return ""


def rank(results: Iterable[tuple[K, UnlearningResults]]) -> dict[K, Standing]:
    """Ranks the repairs of one experiment.

    Args:
        results: Repairs, each with the key of what its mean is taken over: repairs of one key differ by seed.

    Returns:
        The standing of each key that has one.
    """
    groups: dict[tuple[int, Protocol], dict[K, dict[int, UnlearningResults]]] = {}
    for key, result in results:
        if not find_tag(result.method):
            group = groups.setdefault((result.budget, protocol_of(result)), {})
            group.setdefault(key, {})[result.seed] = result
    found: dict[K, Standing] = {}
    for group in groups.values():
        found |= _rank_rivals(group)
    return found


def _rank_rivals(group: Mapping[K, Mapping[int, UnlearningResults]]) -> dict[K, Standing]:
    means = {key: mean_std([r.acc_after_fix for r in own.values()])[0] or 0.0 for key, own in group.items()}
    first = max(means, key=lambda key: means[key])
    before = mean_std([r.acc_before_fix for r in group[first].values()])[0] or 0.0
    if len(group) < 2 or means[first] <= before:
        return {}
    verdicts = {key: tell_apart(group[first], own) for key, own in group.items() if key != first}
    tied = [key for key, verdict in verdicts.items() if verdict == "same"]
    if tied:
        return dict.fromkeys([first, *tied], Standing.TIE)
    if "unknown" in verdicts.values():
        return {}
    return {first: Standing.AHEAD if "apart" in verdicts.values() else Standing.BEST}


def tell_apart(one: Mapping[int, UnlearningResults], other: Mapping[int, UnlearningResults]) -> str:
    """Says whether two repairs differ in test accuracy by more than chance.

    Args:
        one: Results by seed.
        other: The same of the other.

    Returns:
        `beyond`: the interval over seeds excludes 0, and test rows do not explain the difference. `apart`: they do not,
        but seeds are too few for an interval. `same`: chance explains it. `unknown`: few seeds, and nobody counted the
        test rows.
    """
    shared = sorted(set(one) & set(other))
    accuracies = [[found[seed].acc_after_fix for seed in shared or found] for found in (one, other)]
    means = [mean_std(values)[0] or 0.0 for values in accuracies]
    rows = {count for found in (one, other) for r in found.values() if (count := count_test_rows(r))}
    explained = rows_explain(max(means), min(rows)) if rows else None
    if explained is not None and abs(means[0] - means[1]) < explained:
        return "same"
    if len(shared) < FEWEST_PAIRS:
        return "unknown" if explained is None else "apart"
    differences = [a - b for a, b in zip(*accuracies, strict=True)]
    if min(differences) > 0 or max(differences) < 0:  # then every resampled mean has that sign, too
        return "beyond"
    found = compare_pairs(*accuracies)
    assert found.low is not None and found.high is not None
    return "same" if found.low <= 0 <= found.high else "beyond"


def rows_explain(accuracy: float, rows: int) -> float:
    """Returns which difference in accuracy a number of test rows explains.

    Args:
        accuracy: A fraction.
        rows: Number of test rows, positive.

    Returns:
        Half the width of the 95 % interval of a share of so many rows (normal approximation), at least one row.
    """
    return max(1.96 * (max(accuracy * (1 - accuracy), 0.0) / rows) ** 0.5, 1 / rows)


def count_test_rows(result: UnlearningResults) -> int:
    """Returns the number of test rows a repair was scored on; 0 where the record does not say."""
    if result.confusion_after is not None:
        return sum(map(sum, result.confusion_after))
    report = result.class_report_after or {}
    return round(sum(scores.support for name, scores in report.items() if name.isascii() and name.isdigit()))
