"""What `auto` brings by what is known, beside a falling learning rate and annealing in as much processor time.

    export TFDS_DATA_DIR=... EYES=efficientnet_lite0.keras
    python cli.py run --data cifar10 --train-rows 20000 --epochs 20 --budgets 4000 --methods annealing --out DIR
    PYTHONPATH=.:tests python tests/benchmarks/chosen.py RUN_DIR [RUN_DIR ...]

Each RUN_DIR is a poisoned model of an experiment. `known` says what a repair is told of its bad rows: their right
labels, which rows they are, or nothing, where a pretrained network finds them first (`features` and `detection` are
part of its seconds). The control of each line trains all weights with a falling learning rate for as many processor
seconds as `auto` took: on the corrected labels, on the rows that nobody flagged, or, where nothing is known, on those
that the detector left. `annealing` does so on the given labels. `restored` is the share of the accuracy that the wrong
labels have cost, `healed` that of all bad rows predicted as their true label, `said` that of wrong labels still said.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from support.benchmarks import over_seeds, save
from support.poisoned import VALUES, Bench, measured
from unlearning import detect
from unlearning.task import REMOVED, Corrections


def measure(bench: Bench) -> Iterator[dict[str, Any]]:
    """Yields the lines of one poisoned model."""
    eyes = os.environ.get("EYES")
    rows = Corrections(bench.right.rows, np.full(len(bench.right), REMOVED))
    longest = 0.0
    for known, flagged, trained_on in (("right labels", bench.right, "corrected"), ("bad rows", rows, "unflagged")):
        done, spent = bench.run(flagged=flagged)
        longest = max(longest, spent)
        yield bench.score(known, "auto", done.model, spent, done.outcome.details["auto"]["level"])
        told = {"cpu_seconds": spent, "rows": trained_on}
        done, spent = bench.run(flagged=flagged, method="fine-tuning", options=told)
        yield bench.score(known, "fine-tuning", done.model, spent)
    if eyes is not None:
        told = {"num_classes": bench.data.num_classes, "seed": bench.cell.seed}
        with tempfile.TemporaryDirectory() as folder:
            os.environ["UNLEARNING_CACHE"] = folder  # nothing has been looked at before
            begun = time.process_time()
            found = detect(bench.model, bench.given, eyes=eyes, **told)
            looking = time.process_time() - begun
        done, spent = bench.run(found=found, detect="pretrained", method="auto")
        level = done.outcome.details["auto"]["level"]
        yield bench.score("nothing", "auto", done.model, looking + spent, level)
        suspects = Corrections(found.suspected.rows, np.full(len(found.suspected), REMOVED))
        told = {"cpu_seconds": spent, "rows": "unflagged"}
        done, spent = bench.run(flagged=suspects, method="fine-tuning", options=told)
        yield bench.score("nothing", "fine-tuning without suspects", done.model, looking + spent)
    done, spent = bench.run(method="annealing", options={"cpu_seconds": longest})
    yield bench.score("nothing", "annealing", done.model, spent)


if __name__ == "__main__":
    for lines, out in measured(__doc__, measure):
        summary = over_seeds(lines, ("wrong labels", "known", "repair", "moved from"), VALUES)
        save("chosen", summary, out=out, each=lines)
