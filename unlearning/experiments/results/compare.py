"""Numbers over seeds: mean and standard deviation, and paired differences from a control with a bootstrap interval.

Cells of one seed share data, noise and poisoned model, so methods are compared within seeds: what differs between seeds
cancels in a paired difference and would only widen an unpaired one.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Literal

import numpy as np

from unlearning.errors import InputError
from unlearning.experiments.results.tree import Repair
from unlearning.records import UnlearningResults, metrics
from unlearning.records.comparison import ComparedMethod, Comparison, Difference, Summary

LEVEL = 0.95
RESAMPLES = 9999
FEWEST_PAIRS = 3
"""No interval is computed from fewer pairs."""

_FEWEST_FOR_BCA = 10  # below, the bias and acceleration of the BCa interval are guesses from a handful of numbers
_SEED = 0
METRICS = {mark.compared: (field, mark) for field, mark in metrics().items() if mark.compared}
"""What is compared: fields of the records and how they are shown, by the names in a comparison."""


def mean_std(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Returns the mean and the sample standard deviation (divisor n - 1).

    Sums of absurd numbers that a float cannot hold are not known either.

    Args:
        values: The numbers.

    Returns:
        Mean and standard deviation; None for what too few numbers leave undefined.

    Example:
        >>> mean_std([1.0, 3.0])
        (2.0, 1.4142135623730951)
    """
    if not len(values):
        return None, None
    with np.errstate(over="ignore", invalid="ignore"):
        mean, std = np.mean(values), np.std(values, ddof=1) if len(values) > 1 else np.nan
    return float(mean) if np.isfinite(mean) else None, float(std) if np.isfinite(std) else None


def compare_pairs(method: Sequence[float], control: Sequence[float]) -> Difference:
    """Compares two equally long lists of numbers, paired by position.

    Args:
        method: The method's numbers, one a seed.
        control: The control's numbers for the same seeds.

    Returns:
        The difference method minus control.

    Raises:
        InputError: If the lengths differ, or a number is not finite.
    """
    if len(method) != len(control):
        raise InputError("control", f"{len(method)} numbers, one a seed", len(control))
    differences = np.asarray(method, dtype=np.float64) - np.asarray(control, dtype=np.float64)
    if not np.isfinite(differences).all():
        raise InputError("method", "finite numbers", "NaN or infinity")
    mean, std = mean_std(differences.tolist())
    low = high = interval = None
    note = ""
    if len(differences) < FEWEST_PAIRS:
        note = f"no interval from fewer than {FEWEST_PAIRS} pairs"
    else:
        low, high, interval = _bootstrap(differences)
    return Difference(pairs=len(differences), mean=mean, std=std, low=low, high=high, interval=interval, note=note)


def _bootstrap(differences: np.ndarray) -> tuple[float, float, Literal["percentile", "BCa"]]:
    from scipy.stats import bootstrap

    kinds: tuple[Literal["percentile", "BCa"], ...] = ("percentile",)
    if len(differences) >= _FEWEST_FOR_BCA:
        kinds = ("BCa", "percentile")  # the second where the first is undefined, as for equal differences
    for kind in kinds:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the result is looked at below
            found = bootstrap(
                (differences,),
                np.mean,
                n_resamples=RESAMPLES,
                confidence_level=LEVEL,
                method=kind,
                rng=np.random.default_rng(_SEED),
            ).confidence_interval
        if math.isfinite(found.low) and math.isfinite(found.high):
            break
    return float(found.low), float(found.high), kind


def compare_methods(repairs: Sequence[Repair], control: str) -> Comparison:
    """Compares every method with a control, within experiment and budget, paired by seed.

    Args:
        repairs: Repairs, as `Tree.repairs` returns them.
        control: The control (method and variant) as tables call it, such as `fine-tuning`, or the name of its folder
            where all of that name are called the same.

    Returns:
        The comparison, in the order of the repairs' experiments, budgets and methods; the control comes first.

    Raises:
        InputError: If there are no repairs of ours, or none by the control.
    """
    groups: dict[tuple[str, int], dict[str, dict[int, UnlearningResults]]] = {}
    folders: dict[str, set[str]] = {}
    for repair in repairs:
        if (results := repair.ours) is not None:
            group = groups.setdefault((repair.experiment, repair.budget), {})
            group.setdefault(repair.label, {})[repair.seed] = results
            folders.setdefault(repair.name, set()).add(repair.label)
    if not groups:
        raise InputError("directory", "a folder with repairs by this program", "none")
    names = sorted({name for group in groups.values() for name in group})
    if control not in names and len(labels := folders.get(control, set())) == 1:
        control = labels.pop()  # all of that name are of an earlier version, where it meant something else
    if control not in names:
        raise InputError("control", f"one of {', '.join(names)}", control)
    compared = []
    for (experiment, budget), group in sorted(groups.items()):
        for name in sorted(group, key=lambda name: (name != control, name)):
            cells = group[name]
            compared.append(
                ComparedMethod(
                    experiment=experiment,
                    budget=budget,
                    method=name,
                    seeds=sorted(cells),
                    **{metric: _summarise(cells, metric) for metric in METRICS},
                    differences={}
                    if name == control
                    else {metric: _differences(cells, group.get(control, {}), metric) for metric in METRICS},
                )
            )
    return Comparison(control=control, level=LEVEL, resamples=RESAMPLES, methods=compared)


def _value(result: UnlearningResults, metric: str) -> float | None:
    value: float | None = getattr(result, METRICS[metric][0])
    return value


def _summarise(cells: dict[int, UnlearningResults], metric: str) -> Summary:
    found = [_value(cells[seed], metric) for seed in sorted(cells)]
    values = [value for value in found if value is not None]
    mean, std = mean_std(values)
    return Summary(count=len(values), mean=mean, std=std)


def _differences(
    cells: dict[int, UnlearningResults], controls: dict[int, UnlearningResults], metric: str
) -> Difference:
    pairs = [
        (_value(cells[seed], metric), _value(controls[seed], metric)) for seed in sorted(set(cells) & set(controls))
    ]
    kept = [(a, b) for a, b in pairs if a is not None and b is not None]
    return compare_pairs([a for a, _ in kept], [b for _, b in kept])
