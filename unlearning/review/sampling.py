"""Which rows a person is asked about, so that a few answers speak for all rows.

Rows are asked about by stratum: of the suspects the more and the less suspicious half, of the others those next to the
cut (as many as there are suspects, at most half of them) and the rest. Two of five questions go to suspects, two to the
rest, where one wrong row stands for many, and one in between; as the strata follow the score, the answers also say
where the cut should be. They are asked in random order: whoever stops early has still drawn at random.

Example:
    >>> scores = np.arange(1000.0)
    >>> sample = draw_sample(scores, suspects=np.arange(800, 1000), size=50, seed=0)
    >>> sample.sizes.tolist(), np.bincount(sample.strata).tolist()
    ([100, 100, 200, 600], [10, 10, 10, 20])
"""

from __future__ import annotations

import dataclasses

import numpy as np

from unlearning.errors import InputError
from unlearning.review.settings import LEAST
from unlearning.streams import stream

_PARTS = (1, 1, 1, 2)
"""How the questions are divided: more and less suspicious suspects, rows next to the cut, all other rows."""


@dataclasses.dataclass(frozen=True, eq=False)
class Sample:
    """Rows that a person is asked about.

    Attributes:
        rows: int64 `(questions,)`: row numbers, in the order in which they are asked.
        strata: int64 `(questions,)`: the stratum of each.
        sizes: int64 `(4,)`: how many rows each stratum has.
        suspect: boolean `(4,)`: whether they are suspects.
    """

    rows: np.ndarray
    strata: np.ndarray
    sizes: np.ndarray
    suspect: np.ndarray


def draw_sample(
    scores: np.ndarray, suspects: np.ndarray, size: int, seed: int, known: np.ndarray | None = None
) -> Sample:
    """Draws the rows of an audit.

    Args:
        scores: Higher is more suspicious, float64 `(rows,)`.
        suspects: Row numbers of the suspects.
        size: How many rows to ask about; all of them where there are fewer.
        seed: Seed of the draw.
        known: Row numbers about which nothing has to be asked, or None.

    Returns:
        The sample.

    Raises:
        InputError: If it is too small, or no row is left to ask about.
    """
    if size < LEAST:
        raise InputError("audit", f"at least {LEAST} rows", size)
    asked = np.ones(len(scores), dtype=bool)
    asked[known if known is not None else []] = False
    called = np.zeros(len(scores), dtype=bool)
    called[suspects] = True
    order = np.argsort(-scores, kind="stable")
    inside, outside = order[(asked & called)[order]], order[(asked & ~called)[order]]
    near = min(len(inside) or len(outside) // 4, len(outside) // 2)
    middle = len(inside) // 2
    parts = [inside[:middle], inside[middle:], outside[:near], outside[near:]]
    sizes = np.array([len(rows) for rows in parts])
    if not sizes.any():
        raise InputError("audit", "rows to ask about", "data whose every row is known")
    drawn, counts = stream(seed, "audit"), _allocate(size, sizes)
    chosen = [np.sort(drawn.choice(rows, n, replace=False)) for rows, n in zip(parts, counts, strict=True)]
    strata, mixed = np.repeat(np.arange(len(parts)), counts), drawn.permutation(int(counts.sum()))
    return Sample(
        np.concatenate(chosen)[mixed].astype(np.int64), strata[mixed], sizes, np.array([True, True, False, False])
    )


def _allocate(size: int, sizes: np.ndarray) -> np.ndarray:
    """How many rows of each stratum are asked about: one by one where most are missing, while there are any."""
    counts = np.zeros(len(sizes), dtype=np.int64)
    for _ in range(min(size, int(sizes.sum()))):
        counts[np.argmin(np.where(counts < sizes, (counts + 1) / np.array(_PARTS), np.inf))] += 1
    return counts
