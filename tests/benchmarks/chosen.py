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

import argparse
import logging
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from support.benchmarks import over_seeds, save
from unlearning import detect, repair
from unlearning.evaluation import accuracy, predict
from unlearning.experiments.cell.reopening import open_poisoned, reopen
from unlearning.records import TrainResults, read_json
from unlearning.task import REMOVED, Corrections

KIND = ("wrong labels", "known", "repair", "moved from")
VALUES = ("before", "after", "clean", "restored", "healed", "said", "cpu_s", "of training")


class Bench:
    """A poisoned model and everything that is scored on it."""

    def __init__(self, run_dir: Path) -> None:
        self.cell = reopen(run_dir)
        self.model, self.given, corruption = open_poisoned(self.cell)
        self.data = self.cell.setup.data
        self.right = corruption.corrections(self.data.train)
        self.before = accuracy(self.model, self.data.test)
        trained = read_json(self.cell.files.results, TrainResults)
        self.training_s = trained.cpu_time_s
        clean = run_dir.parents[1] / "clean" / run_dir.name / "train_results.json"
        self.clean = read_json(clean, TrainResults).accuracy
        self.noise = f"{self.cell.poison_config.noise} {100 * len(self.right) / len(self.given):.0f} %"

    def score(self, known: str, name: str, model: Any, spent: float, chosen: str = "") -> dict[str, Any]:
        """Returns a line of the table."""
        said = predict(model, self.given.images[self.right.rows]).argmax(-1)
        after = accuracy(model, self.data.test)
        line = {
            "wrong labels": self.noise,
            "seed": self.cell.seed,
            "known": known,
            "repair": name,
            "before": self.before,
            "after": after,
            "clean": self.clean,
            "restored": (after - self.before) / (self.clean - self.before),
            "healed": float(np.mean(said == self.right.labels)),
            "said": float(np.mean(said == self.given.labels[self.right.rows])),
            "cpu_s": spent,
            "of training": spent / self.training_s,
            "moved from": chosen,
        }
        print(line, flush=True)
        return line

    def run(self, **told: Any) -> tuple[Any, float]:
        """Repairs; returns the repair and its processor seconds, detection not included."""
        begun = time.process_time()
        done = repair(
            self.model,
            self.given,
            validation=self.cell.validation,
            num_classes=self.data.num_classes,
            seed=self.cell.seed,
            **told,
        )
        return done, time.process_time() - begun


def measure(bench: Bench, eyes: str | None) -> Iterator[dict[str, Any]]:
    """Yields the lines of one poisoned model."""
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


def main() -> None:
    """Measures every poisoned model, and saves the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run_dirs", type=Path, nargs="+")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    lines: list[dict[str, Any]] = []
    for run_dir in options.run_dirs:
        for line in measure(Bench(run_dir), os.environ.get("EYES")):
            lines.append(line)
            save("chosen", over_seeds(lines, KIND, VALUES), out=options.out, each=lines)


if __name__ == "__main__":
    main()
