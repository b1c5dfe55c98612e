"""What comes back for how much: methods at several budgets, beside fine-tuning whose learning rate falls to zero.

    export TFDS_DATA_DIR=...
    python cli.py run --data cifar10 --train-rows 20000 --epochs 20 --budgets 4000 --methods annealing --out DIR
    PYTHONPATH=.:tests python tests/benchmarks/by_cost.py RUN_DIR [RUN_DIR ...]

Each RUN_DIR is a poisoned model of an experiment. `known` says what a repair is told: the right labels of the bad
rows, or which rows they are. `cpu s` is all processor time of a repair, `of training` its share of that of the poisoned
model. `restored` is the share of the accuracy that the wrong labels have cost, `healed` that of the bad rows predicted
as their true label. `fine-tuning` moves all weights, `fine-tuning, head` the dense head on features computed once.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from support.benchmarks import over_seeds, save
from support.poisoned import VALUES, Bench, measured
from unlearning.task import REMOVED, Corrections

SHARES = (0.01, 0.02, 0.05, 0.1)
"""Budgets, as shares of the processor time that the poisoned model took."""
LABELS: dict[str, tuple[str, dict[str, Any], bool]] = {
    "first-order": ("first-order", {}, False),
    "last-layer": ("last-layer", {}, False),
    "second-order-single": ("second-order-single", {}, False),
    "second-order": ("second-order", {}, False),
    "fine-tuning, head": ("fine-tuning", {"trainable_from": "head"}, True),
    "fine-tuning, middle": ("fine-tuning", {"trainable_from": "middle"}, True),
    "fine-tuning": ("fine-tuning", {}, True),
}
"""Told the right labels: by name the method, its options, and whether it takes a budget."""
ROWS: dict[str, tuple[str, dict[str, Any], bool]] = {
    "fspmu": ("fspmu", {}, True),
    "fine-tuning": ("fine-tuning", {"rows": "unflagged"}, True),
}
"""The same, told which rows are bad."""


def measure(bench: Bench) -> Iterator[dict[str, Any]]:
    """Yields the lines of one poisoned model."""
    rows = Corrections(bench.right.rows, np.full(len(bench.right), REMOVED))
    for known, flagged, repairs in (("right labels", bench.right, LABELS), ("bad rows", rows, ROWS)):
        for name, (method, options, has_budget) in repairs.items():
            for share in SHARES if has_budget else (None,):
                limit = {} if share is None else {"cpu_seconds": share * bench.training_s}
                done, spent = bench.run(flagged=flagged, method=method, options=options | limit)
                line = bench.score(known, name, done.model, spent)
                del line["moved from"]
                yield line | {"budget": share}


if __name__ == "__main__":
    for lines, out in measured(__doc__, measure):
        summary = over_seeds(lines, ("wrong labels", "known", "repair", "budget"), VALUES)
        save("by_cost", summary, out=out, each=lines)
