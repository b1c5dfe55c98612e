"""The numbers of a repair that tables show: what each is, its names, and how it is made of the records.

This is the one place: tables in a terminal, exports, published tables in documents and the numbers that `reproduce`
expects all read it. To add a column, add it to `COLUMNS`.

Example:
    >>> COLUMNS["training_share"].heading, COLUMNS["training_share"].title
    ('share', 'share of training, %')
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TypeVar

from unlearning.records import UnlearningResults

GOLD = "retraining-unflagged"
"""What there is to learn without the bad rows: the method that `gap` measures by."""

K = TypeVar("K", bound=Hashable)


@dataclasses.dataclass(frozen=True)
class Column:
    """One number of a repair.

    Attributes:
        heading: Its name in a terminal.
        title: Its name in documents, with the unit.
        meaning: What it is, for the lines below a table.
        value: Makes it of the repair's record and that of `GOLD` in the same cell, where there is one; shares are
            fractions. None where it is not known.
        scale: What it is multiplied by to be in the unit of `title`.
        digits: Digits after the point in documents.
        sign: `+` where a sign is always shown.
        timed: Whether it depends on the machine.
        derived: Whether it is no field of the record, so that an export has it only from here.
    """

    heading: str
    title: str
    meaning: str
    value: Callable[[UnlearningResults, UnlearningResults | None], float | None]
    scale: float = 100.0
    digits: int = 1
    sign: str = ""
    timed: bool = False
    derived: bool = False


def gap(result: UnlearningResults, gold: UnlearningResults | None) -> float | None:
    """Returns the share of the way from the poisoned model to the one retrained without the bad rows.

    Args:
        result: The repair.
        gold: The retraining in the same cell.

    Returns:
        `(after - before) / (retrained - before)`; None without a retraining, and where that is no better than the
        poisoned model.
    """
    if gold is None or gold.acc_after_fix <= result.acc_before_fix:
        return None
    return (result.acc_after_fix - result.acc_before_fix) / (gold.acc_after_fix - result.acc_before_fix)


def training_share(result: UnlearningResults, _: UnlearningResults | None = None) -> float | None:
    """Returns the repair's processor time as a fraction of that of training the poisoned model."""
    return result.unlearning_cpu_s / result.training_cpu_s if result.training_cpu_s else None


COLUMNS = {
    "clean": Column("clean", "clean, %", "test accuracy of the clean model, in %", lambda r, _: r.acc_clean),
    "before": Column("before", "before, %", "test accuracy before the repair, in %", lambda r, _: r.acc_before_fix),
    "after": Column("after", "after, %", "test accuracy after the repair, in %", lambda r, _: r.acc_after_fix),
    "gain": Column(
        "gain",
        "gain, points",
        "after minus before, in points",
        lambda r, _: r.acc_after_fix - r.acc_before_fix,
        sign="+",
        derived=True,
    ),
    "restored": Column(
        "restored", "restored, %", "share of the lost accuracy that came back, in %", lambda r, _: r.acc_perc_restored
    ),
    "gap": Column(
        "gap",
        "gap, %",
        "share of the way to retraining without the bad rows, in %",
        gap,
        derived=True,
    ),
    "healed": Column(
        "healed",
        "healed, %",
        "share of all bad rows that are predicted as their true label, in %",
        lambda r, _: r.corrected_accuracy_after,
        digits=0,
    ),
    "said": Column(
        "said",
        "wrong label still said, %",
        "share of bad rows whose wrong label is still predicted, in %",
        lambda r, _: r.bad_label_agreement_after,
        digits=0,
    ),
    "said_before": Column(
        "said bef.",
        "wrong label said before, %",
        "share of bad rows whose wrong label was predicted before, in %",
        lambda r, _: r.bad_label_agreement_before,
        digits=0,
    ),
    "membership": Column(
        "memb.",
        "membership AUC",
        "area under the curve by which the wrong labels' loss tells bad rows; 0.5: no trace",
        lambda r, _: r.membership_auc_after,
        scale=1.0,
        digits=2,
    ),
    "validation_gain": Column(
        "val.",
        "gain on validation, points",
        "points gained on validation rows",
        lambda r, _: r.validation_accuracy_after - r.validation_accuracy_before,
        sign="+",
    ),
    "seconds": Column(
        "seconds",
        "seconds",
        "wall-clock seconds",
        lambda r, _: r.unlearning_duration_s,
        scale=1.0,
        digits=0,
        timed=True,
    ),
    "cpu": Column(
        "CPU s",
        "processor seconds",
        "processor seconds",
        lambda r, _: r.unlearning_cpu_s,
        scale=1.0,
        digits=0,
        timed=True,
    ),
    "training_share": Column(
        "share",
        "share of training, %",
        "processor time as a share of that of the training, in %",
        training_share,
        timed=True,
        derived=True,
    ),
    "grads": Column(
        "grads",
        "thousands of gradients",
        "thousands of per-example gradients",
        lambda r, _: r.work.gradient_rows,
        scale=1e-3,
    ),
    "products": Column(
        "products",
        "thousands of curvature products",
        "thousands of per-example curvature products",
        lambda r, _: r.work.curvature_rows,
        scale=1e-3,
    ),
}
"""All columns, by the name that configurations and exports use."""


def gold_of(results: Iterable[tuple[K, UnlearningResults]]) -> dict[K, UnlearningResults]:
    """Finds the retraining of each cell.

    Args:
        results: Repairs, each with what names its cell.

    Returns:
        The results of `GOLD` by cell: of its variants the plain one, or the first.
    """
    found: dict[K, UnlearningResults] = {}
    for cell, result in results:
        if result.method == GOLD and (cell not in found or not result.variant):
            found[cell] = result
    return found


def count_seeds(results: Sequence[tuple[K, int]]) -> dict[K, int]:
    """Counts distinct seeds by whatever names the repairs they belong to."""
    seeds: dict[K, set[int]] = {}
    for key, seed in results:
        seeds.setdefault(key, set()).add(seed)
    return {key: len(found) for key, found in seeds.items()}
