"""What the page says first: what came out of each budget, in a sentence and a bar."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from unlearning.experiments.results.columns import GOLD
from unlearning.records import UnlearningResults
from unlearning.reporting.page.shown import Shown
from unlearning.reporting.ranking import Standing, tell_apart

_MOST_NAMED = 2
_TOLD = {
    "right labels": "told the right labels",
    "bad rows": "told which rows are bad",
    "nothing, detected": "told nothing, bad rows detected",
    "nothing": "told nothing",
}


@dataclasses.dataclass(frozen=True)
class Bar:
    """One repair between the poisoned and the clean model.

    Attributes:
        told: What it was told of bad rows.
        name: What it is called.
        before: Test accuracy of the poisoned model, mean over seeds.
        after: That of the repaired model.
        clean: That of the clean model.
    """

    told: str
    name: str
    before: float
    after: float
    clean: float

    @property
    def filled(self) -> float:
        """How much of the bar is filled, in per cent: 0 is the poisoned model, 100 the clean one."""
        lost = self.clean - self.before
        share = (self.after - self.before) / lost if lost > 0 else float(self.after >= self.before)
        return round(100 * min(max(share, 0.0), 1.0), 1)


@dataclasses.dataclass(frozen=True)
class Answer:
    """What came out of one budget.

    Attributes:
        wrong: How many labels were wrong.
        text: The result.
        bars: The first of each protocol; of that which the text is about before all others.
    """

    wrong: str
    text: str
    bars: tuple[Bar, ...]


def answers(experiment: Shown, rows: Sequence[Mapping[str, Any]]) -> list[Answer]:
    """Returns what came out, a budget each.

    Args:
        experiment: The experiment.
        rows: Its table, as `headline` returns it.

    Returns:
        The answers by budget; none of budgets at which nothing but controls was run.
    """
    results: dict[tuple[int, str], dict[int, UnlearningResults]] = {}
    for cell, repair, result in experiment.repairs():
        results.setdefault((cell.budget, repair.label), {})[cell.seed] = result
    found = []
    for budget in sorted({row["budget"] for row in rows}):
        own = [row for row in rows if row["budget"] == budget]
        rivals = [row for row in own if not row["tag"] and None not in (row["after"][0], row["before"][0])]
        if rivals:
            found.append(_answer(rivals, [row for row in own if row["tag"]], results, budget))
    return found


def _answer(
    rivals: Sequence[Mapping[str, Any]],
    controls: Sequence[Mapping[str, Any]],
    results: Mapping[tuple[int, str], Mapping[int, UnlearningResults]],
    budget: int,
) -> Answer:
    # Rows stand in order of accuracy; what chose on true validation labels nobody can have outside an experiment.
    first = next((row for row in rivals if row["validation"] != "clean"), rivals[0])
    shares = {round(row["rate"], 3) for row in rivals}
    rate = first["rate"]
    share = "Half" if abs(rate - 0.5) < 0.005 else f"{100 * rate:.3g} %"
    bars: dict[tuple[str, str, float], Bar] = {}
    for row in (first, *rivals):
        numbers = (row[key][0] for key in ("before", "after", "clean"))
        bars.setdefault((row["told"], row["validation"], row["known"]), Bar(_told(row), row["name"], *numbers))
    wrong = _unbroken(f"{share} of the labels wrong") if len(shares) == 1 else f"{budget:,} labels wrong"
    return Answer(wrong, _unbroken(_sentence(first, rivals, controls, results, budget)), tuple(bars.values()))


def _told(row: Mapping[str, Any]) -> str:
    told = _TOLD.get(row["told"], row["told"]) + (f", {100 * row['known']:g} % known" if row["known"] < 1 else "")
    return told + (", choices on true validation labels" if row["validation"] == "clean" else "")


def _sentence(
    first: Mapping[str, Any],
    rivals: Sequence[Mapping[str, Any]],
    controls: Sequence[Mapping[str, Any]],
    results: Mapping[tuple[int, str], Mapping[int, UnlearningResults]],
    budget: int,
) -> str:
    name, restored, share = f"{first['name']}, {_told(first)},", first["restored"][0], first["training_share"][0]
    accuracy, before = _accuracy(first), 100 * first["before"][0]
    if first["after"][0] <= first["before"][0]:
        return f"No repair brought accuracy back; the poisoned model has {before:.1f} %."
    if restored is None:
        text = f"{name} went from {before:.1f} to {accuracy} of the test rows; wrong labels had cost no accuracy"
    else:
        text = f"{name} brought back {100 * restored:.0f} % of the lost accuracy"
    text += f" in {_times(share)}" if share is not None else ""
    gold = next((row for row in controls if row["method"] == GOLD), None)
    text += _compared(first, gold, results, budget) if gold is not None else f" ({accuracy}, {_seeds(first)})"
    tied = [
        row["name"]
        for row in rivals
        if row is not first and row["standing"] == Standing.TIE == first["standing"] and _protocol(row, first)
    ]
    if tied:
        names, more = tied[:_MOST_NAMED], len(tied) - _MOST_NAMED
        listed = f"{', '.join(names)} and {more} more" if more > 0 else " and ".join(names)
        text += f". Not told apart from it: {listed}"
    elif first["standing"] == Standing.BEST:
        count = sum(_protocol(row, first) for row in rivals) - 1
        text += f". It is ahead of {f'{count} rivals' if count > 1 else 'its rival'} by more than chance"
    better = max(
        (row for row in controls if row["tag"] == "control"), key=lambda row: row["after"][0] or 0, default=None
    )
    if better is not None and (better["after"][0] or 0) > first["after"][0]:
        verdict = tell_apart(results[budget, better["name"]], results[budget, first["name"]])
        how = {"same": "as much: ", "unknown": ""}.get(verdict, "more: ")
        text += f". The control {better['name']} reached {how}{_accuracy(better)}"
    return f"{text}."


def _compared(
    first: Mapping[str, Any],
    gold: Mapping[str, Any],
    results: Mapping[tuple[int, str], Mapping[int, UnlearningResults]],
    budget: int,
) -> str:
    """How it stands to retraining without the bad rows, by the same rule as among rivals."""
    verdict = tell_apart(results[budget, first["name"]], results[budget, gold["name"]])
    points = 100 * ((first["after"][0] or 0.0) - (gold["after"][0] or 0.0))
    how = (
        "not told apart from" if verdict == "same" else f"{abs(points):.1f} points {'above' if points > 0 else 'below'}"
    )
    return f"; {how} retraining without the bad rows ({_accuracy(first)} and {_accuracy(gold)}, {_seeds(first)})"


def _unbroken(text: str) -> str:
    """Keeps numbers and their units on one line."""
    return text.replace(" %", "\u00a0%").replace(" ± ", "\u00a0±\u00a0")


def _protocol(row: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return all(row[key] == other[key] for key in ("told", "validation", "known"))


def _accuracy(row: Mapping[str, Any]) -> str:
    mean, std = row["after"]
    spread = std if std is not None else row["explained"]
    return f"{100 * mean:.1f} %" if spread is None else f"{100 * mean:.1f} ± {100 * spread:.1f} %"


def _seeds(row: Mapping[str, Any]) -> str:
    if row["seeds"] > 1:
        return f"{row['seeds']} seeds"
    return "one seed; ± from its test rows" if row["explained"] is not None else "one seed"


def _times(share: float) -> str:
    """A share of a training, in words."""
    if share >= 1.5:
        return f"the time of {share:.1f} trainings"
    return f"{100 * share:.2g} % of a training" if share < 0.995 else "the time of a training"
